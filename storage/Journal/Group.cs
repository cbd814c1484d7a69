namespace Yizhan.Storage;

/// <summary>
/// What becomes durable together: the outcome of the calls that waited when the previous commit ended. It starts as a copy of the
/// state, so that a group that cannot be committed leaves no trace.
/// </summary>
internal sealed class Group(LogState state)
{
    /// <summary>Highest position given, this group included.</summary>
    public long Position { get; set; } = state.Position;

    /// <summary>The own lanes after this group.</summary>
    public LaneState[] Lanes { get; } = [.. state.Lanes];

    /// <summary>Entries to keep, in the order of their positions.</summary>
    public List<NewEntry> Entries { get; } = [];

    /// <summary>Other logs' lanes whose mark moves.</summary>
    public Dictionary<Origin, long> Marks { get; } = [];

    /// <summary>Facts among <see cref="Entries"/>.</summary>
    public Dictionary<FactKey, NewEntry> Facts { get; } = [];

    /// <summary>Blobs that change.</summary>
    public Dictionary<ContentHash, BlobChange> Blobs { get; } = [];

    /// <summary>Own entries to forget: a lane and the sequences after the first up to and including the second.</summary>
    public List<(Lane Lane, long After, long Through)> Releases { get; } = [];

    /// <summary>Pins to set (true) or take away.</summary>
    public List<(ContentHash Hash, string Holder, bool Set)> Pins { get; } = [];

    /// <summary>Blobs that nothing names and that were last touched before this time go away; null when none are asked for.</summary>
    public long? ForgetOrphansBeforeMs { get; set; }

    /// <summary>When the group was made, Unix milliseconds UTC, for the age of orphans.</summary>
    public long NowMs { get; set; }

    /// <summary>Segment files that the object store has from now on.</summary>
    public List<AwaySegment> Moved { get; } = [];

    /// <summary>Segment files that it has no more.</summary>
    public List<long> Returned { get; } = [];

    /// <summary>Blobs of writers that this group takes over.</summary>
    public List<PendingBlob> Claims { get; } = [];

    /// <summary>Set by the commit: pieces that nothing names any more, with their blob.</summary>
    public List<(ContentHash Hash, Extent Extent)> Freed { get; } = [];

    /// <summary>The mark of another log's lane after this group.</summary>
    public long MarkOf(Origin origin) => Marks.TryGetValue(origin, out var mark) ? mark : state.Marks.GetValueOrDefault(origin);

    /// <summary>Makes the group the state; called once it is durable.</summary>
    public void Publish()
    {
        foreach (var (origin, mark) in Marks)
        {
            state.Marks[origin] = mark;
        }

        state.Lanes = Lanes;
        state.Position = Position;
    }

    /// <summary>True when there is nothing to make durable.</summary>
    public bool IsEmpty =>
        Entries.Count == 0 && Marks.Count == 0 && Blobs.Count == 0 && Releases.Count == 0 && Pins.Count == 0 && Moved.Count == 0 && Returned.Count == 0
        && ForgetOrphansBeforeMs is null && Lanes.AsSpan().SequenceEqual(state.Lanes);
}

/// <summary>An entry with what a journal keeps beside it.</summary>
/// <param name="Logged">Entry, identity, position.</param>
/// <param name="Fact">Its key.</param>
/// <param name="Own">True when this log accepted it first.</param>
/// <param name="LaneBytes">The lane's running total up to and including it; 0 for others' entries.</param>
internal sealed record NewEntry(LoggedEntry Logged, FactKey Fact, bool Own, long LaneBytes);

/// <summary>What happens to one blob in a group.</summary>
internal sealed class BlobChange
{
    /// <summary>Bytes of the blob.</summary>
    public required long Length { get; init; }

    /// <summary>New pieces.</summary>
    public List<Extent> Added { get; } = [];

    /// <summary>True when it is complete after this group.</summary>
    public bool Complete { get; set; }

    /// <summary>True when it is thrown away, before <see cref="Added"/> is added.</summary>
    public bool Dropped { get; set; }
}
