namespace Yizhan.Transparency;

/// <summary>What <see cref="LogVerifier"/> found.</summary>
/// <param name="Checkpoint">The signed state of the log; null when it could not be trusted.</param>
/// <param name="EntriesChecked">Entries whose bytes, hash and place are right.</param>
/// <param name="Problem">The first thing that is wrong, for people; null when all is right.</param>
/// <param name="BadEntry">Index of the first entry that is not proven, when the problem can be narrowed to one.</param>
/// <param name="Remarks">What is not wrong but worth knowing: expired entries, gaps that the log itself records, files of an interrupted commit.</param>
public sealed record LogVerification(
    Checkpoint? Checkpoint, long EntriesChecked, string? Problem, long? BadEntry, IReadOnlyList<string> Remarks)
{
    /// <summary>True when every entry is what was signed.</summary>
    public bool Ok => Problem is null;
}

/// <summary>What the verifier of a log trusts.</summary>
/// <param name="Key">Key of the log, from a trusted place: not from the log.</param>
public sealed record LogTrust(NoteKey Key)
{
    /// <summary>Notes of the same log that were kept elsewhere (a witness, a colleague, last month's report). The log must begin with each.</summary>
    public IReadOnlyList<ReadOnlyMemory<byte>> Older { get; init; } = [];

    /// <summary>Keys of witnesses. At least one checkpoint of <see cref="Older"/> or of the log must bear the cosignature of each.</summary>
    public IReadOnlyList<NoteKey> Witnesses { get; init; } = [];
}

/// <summary>Checks a log with nothing but keys. Streams: memory does not grow with the log.</summary>
public sealed class LogVerifier
{
    /// <summary>The signed state.</summary>
    public const string CheckpointFile = "checkpoint";

    /// <summary>The newest checkpoint with the cosignatures of witnesses.</summary>
    public const string WitnessedFile = "witnessed";

    /// <summary>The log's public key, for convenience.</summary>
    public const string KeyFile = "log.vkey";

    /// <summary>What files have at the end of their name while they are written.</summary>
    internal const string Temporary = ".tmp";

    private readonly ILogFiles _files;
    private readonly LogTrust _trust;
    private readonly TreeReader _reader;
    private readonly AuditLeafChecks? _leaves;
    private readonly List<string> _remarks = [];
    private readonly List<Tombstone> _tombstones = [];
    private readonly RightEdge _edge = new();
    private Checkpoint? _checkpoint;

    private LogVerifier(ILogFiles files, LogTrust trust, bool leaves)
    {
        (_files, _trust, _reader) = (files, trust, new TreeReader(files));
        _leaves = leaves ? new AuditLeafChecks(files, Remark) : null;
    }

    /// <summary>
    /// Checks the signature, every entry against its hash, every tile against the level below, the root against the checkpoint, the
    /// sealed bytes of every record, that no source lost an entry, and that the log begins with each older checkpoint: a cut tail, a
    /// rewritten past and a fork contradict one.
    /// </summary>
    /// <param name="files">The log. Read only.</param>
    /// <param name="trust">What is believed before.</param>
    /// <param name="progress">Gets the number of entries checked now and then. May be null.</param>
    /// <param name="cancellationToken">Stops the check.</param>
    public static LogVerification Verify(ILogFiles files, LogTrust trust, IProgress<long>? progress, CancellationToken cancellationToken) =>
        Verify(files, trust, leaves: true, progress, cancellationToken);

    /// <summary>Checks any log of C2SP tlog-tiles; what its entries say does not matter.</summary>
    public static LogVerification VerifyTiles(ILogFiles files, LogTrust trust, IProgress<long>? progress, CancellationToken cancellationToken) =>
        Verify(files, trust, leaves: false, progress, cancellationToken);

    private static LogVerification Verify(ILogFiles files, LogTrust trust, bool leaves, IProgress<long>? progress, CancellationToken cancellationToken)
    {
        var verifier = new LogVerifier(files, trust, leaves);
        try
        {
            verifier.CheckAll(progress, cancellationToken);
            return verifier.Report(problem: null, badEntry: null);
        }
        catch (BrokenLogException e)
        {
            return verifier.Report(e.Message, e.Entry);
        }
    }

    private void CheckAll(IProgress<long>? progress, CancellationToken cancellationToken)
    {
        var checkpoint = _checkpoint = ReadCheckpoint();
        ReadTombstones();
        var anchors = Anchors();
        CheckAnchors(anchors);
        while (_edge.Size < checkpoint.Size)
        {
            cancellationToken.ThrowIfCancellationRequested();
            CheckTile(anchors);
            progress?.Report(_edge.Size);
        }

        for (var level = 0; level < RightEdge.Levels; level++)
        {
            if (TileAddress.RightEdge(level, checkpoint.Size) is { Width: > 0 } tile)
            {
                CheckHashes(tile, _edge.Row(level));
            }
        }

        if (_edge.Root() != checkpoint.Root)
        {
            throw new BrokenLogException($"The {checkpoint.Size} entries are not those that the checkpoint signs: root {_edge.Root()}, signed {checkpoint.Root}.");
        }

        CheckFiles(checkpoint.Size, cancellationToken);
    }

    private Checkpoint ReadCheckpoint() =>
        _reader.TryReadFile(LogVerifier.CheckpointFile, SignedNote.MaxBytes) is not { } note ? throw new BrokenLogException($"'{CheckpointFile}' is missing.")
            : Checkpoint.TryOpen(note, _trust.Key, out var checkpoint) ? checkpoint
            : throw new BrokenLogException($"'{CheckpointFile}' is not a checkpoint signed by {_trust.Key}.");

    /// <summary>All that was signed before and is known here, the smallest first.</summary>
    private List<Checkpoint> Anchors()
    {
        var notes = _trust.Older.ToList();
        var own = new List<ReadOnlyMemory<byte>>(notes);
        if (_reader.TryReadFile(WitnessedFile, SignedNote.MaxBytes) is { } witnessed)
        {
            own.Add(witnessed);
            notes.Add(witnessed);
        }

        foreach (var witness in _trust.Witnesses.Where(w => !own.Exists(n => SignedNote.TryParse(n.Span, out var note) && w.Signs(note))))
        {
            throw new BrokenLogException($"No checkpoint with the cosignature of {witness} was given.");
        }

        return [.. notes.Select(note => ReadOlder(note.Span)).OrderBy(c => c.Size)];
    }

    private Checkpoint ReadOlder(ReadOnlySpan<byte> note) => Checkpoint.TryOpen(note, _trust.Key, out var checkpoint)
        ? checkpoint
        : throw new BrokenLogException($"An older checkpoint to compare with is not signed by {_trust.Key}.");

    private void ReadTombstones()
    {
        foreach (var name in _files.Names(Tombstone.Folder).Where(n => !n.EndsWith(Temporary, StringComparison.Ordinal)))
        {
            var path = $"{Tombstone.Folder}/{name}";
            var note = _reader.TryReadFile(path, SignedNote.MaxBytes) ?? [];
            if (!Tombstone.TryOpen(note, _trust.Key, out var tombstone) || tombstone.Path != path)
            {
                var isRange = long.TryParse(name.Split('-')[0], out var first);
                throw new BrokenLogException($"'{path}' is not a tombstone signed by {_trust.Key}.", isRange ? first : null);
            }

            _tombstones.Add(tombstone);
            Remark($"The {tombstone.End - tombstone.First} entries from {tombstone.First} have expired: {tombstone.Reason}");
        }
    }

    /// <summary>Compares the state so far with what was signed at this size.</summary>
    private void CheckAnchors(List<Checkpoint> anchors)
    {
        while (anchors.Count > 0 && (anchors[0].Size == _edge.Size || anchors[0].Size > _checkpoint!.Size))
        {
            var (_, size, root) = anchors[0];
            if (size > _checkpoint!.Size)
            {
                throw new BrokenLogException($"The log was cut: it has {_checkpoint.Size} entries and signed {size} before.", _checkpoint.Size);
            }

            if (root != _edge.Root())
            {
                throw new BrokenLogException($"The log was rewritten or forked: its first {size} entries have root {_edge.Root()}, and {root} was signed before.");
            }

            anchors.RemoveAt(0);
        }
    }

    private void CheckTile(List<Checkpoint> anchors)
    {
        var first = _edge.Size;
        var width = (int)Math.Min(TileAddress.FullWidth, _checkpoint!.Size - first);
        var bundle = new TileAddress(TileAddress.Entries, first / TileAddress.FullWidth, width);
        var hashTile = bundle with { Level = 0 };
        var hashes = ReadFile(hashTile, first);
        if (_tombstones.FirstOrDefault(t => t.First <= first && first < t.End) is { } tombstone && _reader.TryRead(bundle) is null)
        {
            AddExpired(tombstone, hashTile, hashes, anchors);
            return;
        }

        var bytes = ReadFile(bundle, first);
        var entries = EntryBundle.Split(bytes, width, out var used);
        for (var i = 0; i < width; i++)
        {
            if (i == entries.Count)
            {
                throw new BrokenLogException($"Entry {first + i}: '{bundle}' is cut off or a length in it is wrong.", first + i);
            }

            var leaf = Merkle.LeafHash(entries[i].Span);
            if (hashes.Length < (i + 1) * TreeHash.Size || leaf != new TreeHash(hashes.AsSpan(i * TreeHash.Size, TreeHash.Size)))
            {
                throw new BrokenLogException($"Entry {first + i}: its bytes in '{bundle}' do not have the hash in '{hashTile}'.", first + i);
            }

            _edge.Add(leaf, CheckHashes);
            CheckAnchors(anchors);
        }

        if (used != bytes.Length && _reader.TryReadFile(bundle) is not null)
        {
            throw new BrokenLogException($"'{bundle}' has bytes after entry {first + width - 1}.", first + width - 1);
        }

        _leaves?.Check(bundle, entries);
        foreach (var narrow in _reader.PartialWidths(bundle).Where(w => w < width))
        {
            _ = EntryBundle.Split(bytes, narrow, out var length);
            CheckIsStartOf(bundle with { Width = narrow }, bytes.AsSpan(0, length), first);
        }
    }

    /// <summary>Takes the hashes of a tile whose entries are gone, as the tombstone allows.</summary>
    private void AddExpired(Tombstone tombstone, TileAddress tile, byte[] bytes, List<Checkpoint> anchors)
    {
        var first = _edge.Size;
        var hashes = TreeReader.Hashes(bytes);
        if (hashes.Length != TileAddress.FullWidth)
        {
            throw new BrokenLogException($"Entry {first}: '{tile}' is cut off.", first);
        }

        foreach (var hash in hashes)
        {
            _edge.Add(hash, CheckHashes);
            CheckAnchors(anchors);
        }

        _leaves?.Forget();
        if (_edge.Size == tombstone.End && ExpiredRoot(tombstone) != tombstone.Root)
        {
            throw new BrokenLogException($"'{tombstone.Path}' is about other entries than those of the tree.", tombstone.First);
        }
    }

    private TreeHash ExpiredRoot(Tombstone tombstone)
    {
        var hashes = new List<TreeHash>();
        for (var first = tombstone.First; first < tombstone.End; first += TileAddress.FullWidth)
        {
            hashes.Add(Merkle.RootOf(TreeReader.Hashes(ReadFile(new TileAddress(0, first / TileAddress.FullWidth, TileAddress.FullWidth), first))));
        }

        return Merkle.RootOf([.. hashes]);
    }

    private void CheckHashes(TileAddress tile, IReadOnlyList<TreeHash> expected)
    {
        var entriesEach = 1L << (8 * tile.Level);
        var firstEntry = tile.Number * TileAddress.FullWidth * entriesEach;
        var bytes = ReadFile(tile, firstEntry);
        for (var i = 0; i < expected.Count; i++)
        {
            if (bytes.Length < (i + 1) * TreeHash.Size || expected[i] != new TreeHash(bytes.AsSpan(i * TreeHash.Size, TreeHash.Size)))
            {
                var entry = firstEntry + (i * entriesEach);
                throw new BrokenLogException($"Entry {entry}: hash {i} of '{tile}' is not the root of the {entriesEach} entries from there.", entry);
            }
        }

        if (bytes.Length != expected.Count * TreeHash.Size && _reader.TryReadFile(tile) is not null)
        {
            throw new BrokenLogException($"'{tile}' has bytes after its {expected.Count} hashes.", firstEntry);
        }

        foreach (var narrow in _reader.PartialWidths(tile).Where(w => w < tile.Width))
        {
            CheckIsStartOf(tile with { Width = narrow }, bytes.AsSpan(0, narrow * TreeHash.Size), firstEntry);
        }
    }

    /// <summary>Partial tiles of earlier sizes may still be there; then they are the start of the current one.</summary>
    private void CheckIsStartOf(TileAddress tile, ReadOnlySpan<byte> expected, long firstEntry)
    {
        // One that is gone by now was dropped by the writer, as it may.
        if (_reader.TryReadFile(tile) is { } bytes && !expected.SequenceEqual(bytes))
        {
            throw new BrokenLogException($"Entry {firstEntry}: '{tile}' is not the start of its wider tile.", firstEntry);
        }
    }

    private byte[] ReadFile(TileAddress tile, long firstEntry) =>
        _reader.TryReadFile(tile) ?? (tile.IsFull ? null : _reader.TryRead(tile)?.ToArray())
        ?? throw new BrokenLogException($"Entry {firstEntry}: '{tile}' is missing.", firstEntry);

    /// <summary>Nothing may hide in the folder: what the checkpoint does not cover is named.</summary>
    private void CheckFiles(long size, CancellationToken cancellationToken)
    {
        foreach (var path in _files.Paths())
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (path == KeyFile)
            {
                if (!_reader.TryReadFile(path, SignedNote.MaxBytes).AsSpan().SequenceEqual(System.Text.Encoding.UTF8.GetBytes($"{_trust.Key}\n")))
                {
                    throw new BrokenLogException($"'{path}' is not {_trust.Key}.");
                }
            }
            else if (TileAddress.TryParse(path, out var tile))
            {
                if (!tile.IsWithin(size))
                {
                    Remark($"'{path}' is not covered by the checkpoint: a commit was interrupted.");
                }
            }
            else if (TileAddress.TryParse(path.Replace("payload/", "tile/entries/", StringComparison.Ordinal), out tile))
            {
                if (tile.Number * TileAddress.FullWidth >= size)
                {
                    Remark($"'{path}' is not covered by the checkpoint: a commit was interrupted.");
                }
            }
            else if (path.EndsWith(Temporary, StringComparison.Ordinal))
            {
                Remark($"'{path}' was left by an interrupted write.");
            }
            else if (path is not (CheckpointFile or WitnessedFile) && !path.StartsWith($"{Tombstone.Folder}/", StringComparison.Ordinal))
            {
                Remark($"'{path}' is not a part of the log.");
            }
        }
    }

    private void Remark(string text)
    {
        const int enough = 100;
        if (_remarks.Count < enough)
        {
            _remarks.Add(text);
        }
    }

    private LogVerification Report(string? problem, long? badEntry) => new(_checkpoint, _edge.Size, problem, badEntry, _remarks);
}
