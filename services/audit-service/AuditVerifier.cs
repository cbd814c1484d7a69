using Yizhan.Audit.Notes;
using Yizhan.Audit.Tree;

namespace Yizhan.Audit;

/// <summary>What <see cref="AuditVerifier"/> found.</summary>
/// <param name="Checkpoint">The signed state of the folder; null when it could not be trusted.</param>
/// <param name="EntriesChecked">Entries whose bytes, hash and place are right.</param>
/// <param name="Problem">The first thing that is wrong, for people; null when all is right.</param>
/// <param name="BadEntry">Index of the first entry that is not proven, when the problem can be narrowed to one.</param>
/// <param name="Remarks">What is not wrong but worth knowing, such as files of a commit that a power cut interrupted.</param>
public sealed record AuditVerification(
    Checkpoint? Checkpoint, long EntriesChecked, string? Problem, long? BadEntry, IReadOnlyList<string> Remarks)
{
    /// <summary>True when every entry is what was signed.</summary>
    public bool Ok => Problem is null;
}

/// <summary>Checks a folder of the log, or a copy of it, with nothing but the log's public key. Streams: memory does not grow with the log.</summary>
public sealed class AuditVerifier
{
    private readonly string _folder;
    private readonly NoteKey _key;
    private readonly TreeReader _reader;
    private readonly List<string> _remarks = [];
    private readonly RightEdge _edge = new();
    private Checkpoint? _checkpoint;

    private AuditVerifier(string folder, NoteKey key) => (_folder, _key, _reader) = (folder, key, new TreeReader(folder));

    /// <summary>
    /// Checks the signature, every entry against its hash, every tile against the level below, the root against the checkpoint,
    /// and that the log begins with each older checkpoint: a cut tail, a rewritten past and a fork contradict one.
    /// </summary>
    /// <param name="folder">Folder with <c>checkpoint</c> and <c>tile/</c>. Read only.</param>
    /// <param name="key">Key of the log, from a trusted place: not from that folder.</param>
    /// <param name="older">Notes of the same log that were kept elsewhere (a witness, a colleague, last month's report).</param>
    /// <param name="progress">Gets the number of entries checked now and then. May be null.</param>
    /// <param name="cancellationToken">Stops the check.</param>
    public static AuditVerification Verify(
        string folder, NoteKey key, IReadOnlyList<ReadOnlyMemory<byte>> older, IProgress<long>? progress, CancellationToken cancellationToken)
    {
        var verifier = new AuditVerifier(folder, key);
        try
        {
            verifier.CheckAll(older, progress, cancellationToken);
            return verifier.Report(problem: null, badEntry: null);
        }
        catch (BrokenException e)
        {
            return verifier.Report(e.Message, e.Entry);
        }
    }

    private void CheckAll(IReadOnlyList<ReadOnlyMemory<byte>> older, IProgress<long>? progress, CancellationToken cancellationToken)
    {
        var checkpoint = _checkpoint = ReadCheckpoint();
        var anchors = older.Select(note => ReadOlder(note.Span)).OrderBy(c => c.Size).ToList();
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
            throw new BrokenException($"The {checkpoint.Size} entries are not those that the checkpoint signs: root {_edge.Root()}, signed {checkpoint.Root}.");
        }

        CheckFiles(checkpoint.Size, cancellationToken);
    }

    private Checkpoint ReadCheckpoint()
    {
        var path = Path.Combine(_folder, TreeLog.CheckpointFile);
        return !File.Exists(path) ? throw new BrokenException($"'{path}' is missing.")
            : new FileInfo(path).Length <= SignedNote.MaxBytes && Checkpoint.TryOpen(File.ReadAllBytes(path), _key, out var checkpoint) ? checkpoint
            : throw new BrokenException($"'{TreeLog.CheckpointFile}' is not a checkpoint signed by {_key}.");
    }

    private Checkpoint ReadOlder(ReadOnlySpan<byte> note) => Checkpoint.TryOpen(note, _key, out var checkpoint)
        ? checkpoint
        : throw new BrokenException($"An older checkpoint to compare with is not signed by {_key}.");

    /// <summary>Compares the state so far with what was signed at this size.</summary>
    private void CheckAnchors(List<Checkpoint> anchors)
    {
        while (anchors.Count > 0 && (anchors[0].Size == _edge.Size || anchors[0].Size > _checkpoint!.Size))
        {
            var (_, size, root) = anchors[0];
            if (size > _checkpoint!.Size)
            {
                throw new BrokenException($"The log was cut: it has {_checkpoint.Size} entries and signed {size} before.", _checkpoint.Size);
            }

            if (root != _edge.Root())
            {
                throw new BrokenException($"The log was rewritten or forked: its first {size} entries have root {_edge.Root()}, and {root} was signed before.");
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
        var bytes = ReadFile(bundle, first);
        var hashes = ReadFile(hashTile, first);
        var entries = EntryBundle.Split(bytes, width, out var used);
        for (var i = 0; i < width; i++)
        {
            if (i == entries.Count)
            {
                throw new BrokenException($"Entry {first + i}: '{bundle}' is cut off or a length in it is wrong.", first + i);
            }

            var leaf = Merkle.LeafHash(entries[i].Span);
            if (hashes.Length < (i + 1) * TreeHash.Size || leaf != new TreeHash(hashes.AsSpan(i * TreeHash.Size, TreeHash.Size)))
            {
                throw new BrokenException($"Entry {first + i}: its bytes in '{bundle}' do not have the hash in '{hashTile}'.", first + i);
            }

            _edge.Add(leaf, CheckHashes);
            CheckAnchors(anchors);
        }

        if (used != bytes.Length && File.Exists(Path.Combine(_folder, bundle.ToString())))
        {
            throw new BrokenException($"'{bundle}' has bytes after entry {first + width - 1}.", first + width - 1);
        }

        foreach (var narrow in _reader.PartialWidths(bundle).Where(w => w < width))
        {
            _ = EntryBundle.Split(bytes, narrow, out var length);
            CheckIsStartOf(bundle with { Width = narrow }, bytes.AsSpan(0, length), first);
        }
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
                throw new BrokenException($"Entry {entry}: hash {i} of '{tile}' is not the root of the {entriesEach} entries from there.", entry);
            }
        }

        if (bytes.Length != expected.Count * TreeHash.Size && File.Exists(Path.Combine(_folder, tile.ToString())))
        {
            throw new BrokenException($"'{tile}' has bytes after its {expected.Count} hashes.", firstEntry);
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
            throw new BrokenException($"Entry {firstEntry}: '{tile}' is not the start of its wider tile.", firstEntry);
        }
    }

    private byte[] ReadFile(TileAddress tile, long firstEntry) =>
        _reader.TryReadFile(tile) ?? (tile.IsFull ? null : _reader.TryRead(tile)?.ToArray())
        ?? throw new BrokenException($"Entry {firstEntry}: '{tile}' is missing.", firstEntry);

    /// <summary>Nothing may hide in the folder: what the checkpoint does not cover is named.</summary>
    private void CheckFiles(long size, CancellationToken cancellationToken)
    {
        foreach (var file in Directory.EnumerateFiles(_folder, "*", SearchOption.AllDirectories))
        {
            cancellationToken.ThrowIfCancellationRequested();
            var path = Path.GetRelativePath(_folder, file).Replace('\\', '/');
            if (path == TreeLog.KeyFile)
            {
                if (File.ReadAllText(file) != $"{_key}\n")
                {
                    throw new BrokenException($"'{path}' is not {_key}.");
                }
            }
            else if (TileAddress.TryParse(path, out var tile))
            {
                if (!tile.IsWithin(size))
                {
                    Remark($"'{path}' is not covered by the checkpoint: a commit was interrupted.");
                }
            }
            else if (path.EndsWith(DurableFolder.Temporary, StringComparison.Ordinal))
            {
                Remark($"'{path}' was left by an interrupted write.");
            }
            else if (path != TreeLog.CheckpointFile)
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

    private AuditVerification Report(string? problem, long? badEntry) => new(_checkpoint, _edge.Size, problem, badEntry, _remarks);

    private sealed class BrokenException(string message, long? entry = null) : Exception(message)
    {
        public long? Entry { get; } = entry;
    }
}
