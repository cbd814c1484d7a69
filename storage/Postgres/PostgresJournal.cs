using System.Security.Cryptography;
using Npgsql;

namespace Yizhan.Storage;

/// <summary>
/// Entries, blob index and marks in PostgreSQL; blobs stay segment files of the centre. A group is one transaction of the one writing session
/// (<see cref="PostgresLease"/>), after the flush of the blobs that it names.
/// </summary>
/// <remarks>
/// A connection that breaks tells nothing about the COMMIT that was under way. Then the session is taken anew, which the server allows only once the old one
/// has ended, and the number of the last group is read: it is this one's, or this one is written again.
/// </remarks>
internal sealed partial class PostgresJournal : Journal
{
    private readonly SegmentFiles _segments;
    private readonly PostgresLease _lease;
    private readonly NpgsqlDataSource _readers;
    private readonly TimeProvider _clock;
    private readonly TimeSpan _patience;
    private readonly string _where;
    private readonly Dictionary<(string, Guid), long> _origins = [];
    private readonly Dictionary<FactKey, (EntryIdentity Identity, long Position)?> _foreseen = [];
    private (HashSet<FactKey> Asked, Task<List<(FactKey Fact, (EntryIdentity Identity, long Position) Found)>> Answer)? _ahead;
    private Dictionary<FactKey, NewEntry> _written = [];
    private int _committer;
    private long _fence;
    private long _groups;
    private long _entryBytes;

    /// <param name="options">Where the database is.</param>
    /// <param name="folder">The log's folder, with the blobs.</param>
    /// <param name="site">Site of the log; null: whatever it says.</param>
    /// <param name="newEpoch">The log was restored: begin a new epoch, and take this folder for the log's own.</param>
    /// <param name="segments">Where the blobs are.</param>
    /// <param name="clock">For the waiting.</param>
    /// <exception cref="IOException">Another centre has the log, or the database is away.</exception>
    /// <exception cref="InvalidOperationException">Database and folder do not belong together, or the server is not set up as it must be.</exception>
    public PostgresJournal(StorageOptions options, string folder, string? site, bool newEpoch, SegmentFiles segments, TimeProvider clock)
    {
        (_segments, _clock, _patience) = (segments, clock, TimeSpan.FromSeconds(options.PostgresPatienceSeconds));
        var connection = Connection(options);
        _where = $"schema '{options.PostgresSchema}' of the database '{connection.Database}' at {connection.Host}";
        _lease = new PostgresLease(connection.ToString(), options.PostgresSchema, _patience, clock);
        connection.MaxPoolSize = options.PostgresReaders;
        connection.ApplicationName = _lease.Name[..^9] + " reads";
        _readers = NpgsqlDataSource.Create(connection);
        try
        {
            _lease.Take();
            PostgresSchema.Migrate(_lease.Session, options.PostgresSchema);
            Own(site, newEpoch, new PostgresFolder(folder));
            foreach (var away in Away())
            {
                segments.Adopt(away);
            }

            if (newEpoch)
            {
                ForgetWhatIsNotHere();
            }

            State = Load(site);

            foreach (var (segment, offset, length) in LiveExtents())
            {
                segments.Adopt(new Extent(0, segment, offset, length));
            }

            segments.Adopted(goOn: false);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public override LogState State { get; }

    public override long EntryBytes => Interlocked.Read(ref _entryBytes);

    public override int MaxEntries => 4096;

    public override long MaxBytes => 16 * 1024 * 1024;

    public override int LookAheadEntries => 512;

    /// <summary>The process that the server has for the writing session, for tests that end it.</summary>
    internal int SessionId => _lease.Session.ProcessID;

    public override void Commit(Group group)
    {
        // Blobs first: a row that names a blob must never be durable before the blob is.
        _segments.FlushDirty();
        var from = _clock.GetTimestamp();
        while (true)
        {
            try
            {
                var entryBytes = Write(group);
                _groups++;
                Interlocked.Exchange(ref _entryBytes, entryBytes);
                _written = group.Facts;
                return;
            }
            catch (PostgresException e) when (e.SqlState is PostgresErrorCodes.DiskFull)
            {
                Undo(group);
                throw new DiskFullException($"{_where}: PostgreSQL has no space left.", e);
            }
            catch (Exception e) when (PostgresLease.IsLost(e))
            {
                if (_clock.GetElapsedTime(from) > _patience)
                {
                    throw new IOException($"PostgreSQL stayed away for {_patience.TotalSeconds:0} s in the middle of a commit: {e.Message}", e);
                }

                _lease.Take();
                if (WasCommitted())
                {
                    _written = group.Facts;
                    return;
                }

                Undo(group);
                _lease.Wait();
            }
        }
    }

    /// <summary>On a reading connection, while the writing session is busy with the group before.</summary>
    public override void LookAhead(IReadOnlyList<Work> waiting)
    {
        _committer = Environment.CurrentManagedThreadId;
        var asked = waiting.SelectMany(work => work.Facts).ToHashSet();
        _written = [];
        _ahead = (asked, Task.Run(() => Query(reader => reader.FindFacts([.. asked.Select(Key)]))));
    }

    public override void Foresee(IReadOnlyList<Work> taken)
    {
        _committer = Environment.CurrentManagedThreadId;
        _foreseen.Clear();
        var asked = taken.SelectMany(work => work.Facts).ToHashSet();
        TakeAhead(asked);
        if (asked.Count == 0)
        {
            return;
        }

        foreach (var fact in asked)
        {
            _foreseen[fact] = null;
        }

        foreach (var (fact, found) in Query(reader => reader.FindFacts([.. asked.Select(Key)])))
        {
            _foreseen[fact] = found;
        }
    }

    /// <summary>Takes from what is asked what was asked for ahead. The group that was written meanwhile may not have been seen there; it is known here.</summary>
    private void TakeAhead(HashSet<FactKey> asked)
    {
        if (_ahead is not { } ahead)
        {
            return;
        }

        _ahead = null;
        try
        {
            var found = ahead.Answer.GetAwaiter().GetResult();
            foreach (var fact in ahead.Asked)
            {
                if (asked.Remove(fact))
                {
                    _foreseen[fact] = _written.TryGetValue(fact, out var entry) ? (entry.Logged.Identity, entry.Logged.Position) : null;
                }
            }

            foreach (var (fact, identity) in found)
            {
                if (_foreseen.ContainsKey(fact))
                {
                    _foreseen[fact] = identity;
                }
            }
        }
        catch (IOException)
        {
            // The server did not answer a moment ago. Who asks in turn waits for it.
        }
    }

    public override (EntryIdentity Identity, long Position)? FindFact(FactKey fact)
    {
        if (_foreseen.TryGetValue(fact, out var found))
        {
            return found;
        }

        var rows = Query(reader => reader.FindFacts([Key(fact)]));
        return rows.Count == 0 ? null : rows[0].Found;
    }

    public override (long LaneBytes, long TimeMs)? FindOwn(Lane lane, long sequence) => Query(reader => reader.FindOwn(lane, sequence));

    public override StoredBlob? FindBlob(ContentHash hash) => Query(reader => reader.FindBlob(hash));

    public override IReadOnlyList<BlobRef> Blobs(ContentHash? after, int max) => Query(reader => reader.Blobs(after, max));

    public override KeyUse UseOf(IReadOnlyCollection<ulong> keys) => Query(reader => reader.UseOf(keys, _segments.Under(keys), State.Lanes));

    public override IReadOnlyList<LoggedEntry> Read(long afterPosition, int maxEntries) => Query(reader => reader.Read(afterPosition, maxEntries));

    public override IReadOnlyList<LoggedEntry> ReadLane(Lane lane, long afterSequence, int maxEntries, long maxDataBytes) =>
        Query(reader => reader.ReadLane(lane, afterSequence, maxEntries, maxDataBytes));

    public override void Dispose()
    {
        // A question that is under way has a connection of the pool; what it answers is of no interest.
        _ahead?.Answer.ContinueWith(static _ => { }, TaskScheduler.Default).Wait();
        _lease.Dispose();
        _readers.Dispose();
    }

    /// <summary>The connection that an operator wrote down, with what this program needs of it.</summary>
    private static NpgsqlConnectionStringBuilder Connection(StorageOptions options)
    {
        if (options.PostgresConnectionFile is not { Length: > 0 } path)
        {
            throw new InvalidOperationException(
                "storage:store is postgres, and storage:postgresConnectionFile is not set: name a file that holds one line such as "
                + "Host=db;Database=yizhan;Username=yizhan_event_log;Password=...;SSL Mode=VerifyFull");
        }

        try
        {
            return new NpgsqlConnectionStringBuilder(File.ReadAllText(path).Trim())
            {
                SearchPath = options.PostgresSchema,

                // The last three: of a machine that is gone without a word the server knows after half a minute, and gives its lock to whoever waits.
                Options = "-c synchronous_commit=on -c idle_in_transaction_session_timeout=60000 -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=4",
                MaxAutoPrepare = 64,
                AutoPrepareMinUsages = 2,
                Timeout = 10,
                CommandTimeout = Math.Max(5, options.PostgresPatienceSeconds),
                TcpKeepAlive = true,
                TcpKeepAliveTime = 10,
                TcpKeepAliveInterval = 5,
                IncludeErrorDetail = false,
                LogParameters = false,
                Multiplexing = false,
            };
        }
        catch (ArgumentException)
        {
            // Its own message would repeat what the file says.
            throw new InvalidOperationException($"{path} (storage:postgresConnectionFile) holds no connection string: Host=db;Database=yizhan;Username=...;Password=... in one line is wanted.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InvalidOperationException($"{path} (storage:postgresConnectionFile) cannot be read: {e.Message}", e);
        }
    }

    private static Guid Key(FactKey fact) => new(fact.ToArray(), bigEndian: true);

    private static FactKey Fact(Guid key) => FactKey.Of(key.ToByteArray(bigEndian: true));

    /// <summary>After the session was taken anew: what became of the group that was being committed.</summary>
    private bool WasCommitted()
    {
        using var row = Command("SELECT fence, groups, owner, entry_bytes FROM log").ExecuteReader();
        row.Read();
        if (row.GetInt64(0) != _fence)
        {
            throw Fenced(row.GetString(2));
        }

        var groups = row.GetInt64(1);
        if (groups == _groups + 1)
        {
            _groups = groups;
            Interlocked.Exchange(ref _entryBytes, row.GetInt64(3));
            return true;
        }

        return groups == _groups ? false : throw new InvalidDataException(
            $"The log in {_where} is at group {groups}, and {_groups} was confirmed: the server lost what it had confirmed. Was a standby promoted that had not received it?");
    }

    private PostgresHeldException Fenced(string owner) => new($"Another centre has taken over the log in {_where}: {owner}. This one commits nothing any more.");

    /// <summary>The transaction did not happen.</summary>
    private void Undo(Group group)
    {
        group.Freed.Clear();
        _origins.Clear();
    }

    /// <summary>
    /// Asks a reading connection, and again when it turned out to be broken: after a restart of the server each one in the pool is. The committer thread
    /// waits for a server that is away, others only a moment.
    /// </summary>
    private T Query<T>(Func<Reader, T> query)
    {
        var from = _clock.GetTimestamp();
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                using var connection = _readers.OpenConnection();
                return query(new Reader(connection, _segments.Keys));
            }
            catch (Exception e) when (PostgresLease.IsLost(e))
            {
                if (Environment.CurrentManagedThreadId == _committer ? _clock.GetElapsedTime(from) > _patience : attempt >= 8)
                {
                    throw new IOException($"PostgreSQL did not answer: {e.Message}", e);
                }

                if (attempt > 2)
                {
                    _lease.Wait();
                }
            }
        }
    }

    /// <summary>Takes the log for this folder's, and for ours alone.</summary>
    private void Own(string? site, bool restored, PostgresFolder folder)
    {
        using var transaction = _lease.Session.BeginTransaction();
        var known = (Guid?)Command("SELECT folder FROM log").ExecuteScalar();
        CheckFolder(known, folder, restored);
        if (known is null)
        {
            var id = folder.Id ?? RandomId();
            folder.Write(id);
            Run("INSERT INTO log (one, site, epoch, folder, position, groups, fence, owner, entry_bytes) VALUES (1, $1, $2, $3, 0, 0, 0, '', 0)",
                site ?? throw new InvalidOperationException($"{_where} holds no log."), RandomId(), id);
        }
        else if (restored)
        {
            BeginEpoch();
            folder.Write(known.Value);
        }

        _fence = (long)Command("UPDATE log SET fence = fence + 1, owner = $1 RETURNING fence", _lease.Name).ExecuteScalar()!;
        transaction.Commit();
    }

    private LogState Load(string? site)
    {
        LogState state;
        using (var log = Command("SELECT site, epoch, position, groups, entry_bytes FROM log").ExecuteReader())
        {
            log.Read();
            if (site is not null && log.GetString(0) != site)
            {
                throw new InvalidOperationException($"{_where} holds the log of site '{log.GetString(0)}', not of '{site}'.");
            }

            state = new LogState { Site = log.GetString(0), Epoch = log.GetGuid(1), Position = log.GetInt64(2) };
            (_groups, _entryBytes) = (log.GetInt64(3), log.GetInt64(4));
        }

        var lanes = new LaneState[4];
        using (var lane = Command("""
            SELECT l.lane, l.sequence, l.bytes, l.delivered, l.delivered_bytes, l.released, e.time_ms
            FROM lane l LEFT JOIN entry e ON e.own AND e.lane = l.lane AND e.sequence = l.delivered + 1
            """).ExecuteReader())
        {
            while (lane.Read())
            {
                lanes[lane.GetInt16(0)] = new LaneState(lane.GetInt64(1), lane.GetInt64(2), lane.GetInt64(3), lane.GetInt64(4),
                    lane.GetInt64(5), lane.IsDBNull(6) ? null : lane.GetInt64(6));
            }
        }

        state.Lanes = lanes;
        using var mark = Command("SELECT o.site, o.epoch, m.lane, m.sequence FROM mark m JOIN origin o ON o.id = m.origin").ExecuteReader();
        while (mark.Read())
        {
            state.Marks[new Origin(mark.GetString(0), mark.GetGuid(1), (Lane)mark.GetInt16(2))] = mark.GetInt64(3);
        }

        return state;
    }

    private void CheckFolder(Guid? known, PostgresFolder folder, bool restored)
    {
        if (known is null && folder.HasBlobs)
        {
            throw new InvalidOperationException(
                $"{_where} holds no log, and this node's folder holds the blobs of one: is it the right database? If it was lost, put back its backup; nothing was changed.");
        }

        if (known is not null && known != folder.Id && !restored)
        {
            throw new InvalidOperationException(
                $"{_where} holds the log of another data folder: two centres cannot share one database schema. If this folder was put back from a backup, "
                + "put an empty file 'restored' into its folder 'log' first (docs/operations/production.md).");
        }
    }

    // A random epoch: nothing about this machine or its clock may make two logs share one.
    private static Guid RandomId() => new(RandomNumberGenerator.GetBytes(16));

    /// <summary>As in the store sqlite: everything that is kept gets new sequences under a new epoch, and is sent again.</summary>
    private void BeginEpoch()
    {
        Run("UPDATE log SET epoch = $1", RandomId());
        Run("INSERT INTO origin (site, epoch) SELECT site, epoch FROM log");

        // Negative first: the unique index looks at every single row.
        Run("""
            UPDATE entry SET origin = (SELECT o.id FROM origin o JOIN log l ON l.site = o.site AND l.epoch = o.epoch),
                sequence = (SELECT l.released FROM lane l WHERE l.lane = entry.lane) - sequence
            WHERE own
            """);
        Run("UPDATE entry SET sequence = -sequence WHERE own");
        Run("""
            UPDATE lane SET sequence = sequence - released, delivered = 0, released = 0,
                delivered_bytes = coalesce((SELECT e.lane_bytes - e.data_bytes - e.blob_bytes FROM entry e WHERE e.own AND e.lane = lane.lane AND e.sequence = 1), bytes)
            """);
    }

    private List<AwaySegment> Away()
    {
        var away = new List<AwaySegment>();
        using var row = Command("SELECT segment, epoch, key, header_bytes, size, bytes, sha256 FROM away").ExecuteReader();
        while (row.Read())
        {
            away.Add(new AwaySegment(row.GetInt64(0), unchecked((ulong)row.GetInt64(1)), unchecked((ulong)row.GetInt64(2)), row.GetInt32(3), row.GetInt32(4), row.GetInt32(5), row.GetFieldValue<byte[]>(6)));
        }

        return away;
    }

    private List<(long Segment, int Offset, int Length)> LiveExtents()
    {
        var extents = new List<(long, int, int)>();
        using var row = Command("""SELECT segment, "offset", length FROM extent""").ExecuteReader();
        while (row.Read())
        {
            extents.Add((row.GetInt64(0), row.GetInt32(1), row.GetInt32(2)));
        }

        return extents;
    }

    private int Run(string sql, params ReadOnlySpan<object> values)
    {
        using var command = Command(sql, values);
        return command.ExecuteNonQuery();
    }

    /// <summary>A command of the writing session. Parameters are $1, $2, ….</summary>
    private NpgsqlCommand Command(string sql, params ReadOnlySpan<object> values) => Bind(new NpgsqlCommand(null, _lease.Session), sql, values);

    private static NpgsqlCommand Bind(NpgsqlCommand command, string sql, ReadOnlySpan<object> values)
    {
#pragma warning disable CA2100 // All texts are literals in this class.
        command.CommandText = sql;
#pragma warning restore CA2100
        foreach (var value in values)
        {
            command.Parameters.Add(new NpgsqlParameter { Value = value });
        }

        return command;
    }
}
