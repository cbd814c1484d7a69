using Yizhan.Audit.Notes;
using Yizhan.Transparency;

namespace Yizhan.Audit.Tree;

/// <summary>
/// A log that only grows: entries, the tiles of their tree, and a signed checkpoint of the last commit, in one folder. One
/// writer; readers are many. Not for concurrent appends.
/// </summary>
/// <remarks>
/// The order that makes it safe: tiles and entries are flushed with their names, then the checkpoint is written aside, flushed,
/// renamed, and its name flushed; only then does anybody see it. A kill at any point leaves the old checkpoint and all
/// that it covers, or the new one and all that it covers.
/// </remarks>
internal sealed class TreeLog : IDisposable
{
    public const int MaxEntriesPerAppend = 4096;

    private readonly DurableFolder _folder;
    private readonly NoteSigner _signer;
    private readonly MemoryStream _bundle = new();
    private RightEdge _edge;
    private long _payloadBytes;
    private bool _failed;
    private volatile Published _published;

    private TreeLog(DurableFolder folder, NoteSigner signer, RightEdge edge, Published published)
    {
        (_folder, _signer, _edge, _published) = (folder, signer, edge, published);
        Reader = new TreeReader(folder.Root);
    }

    /// <summary>The last durable state.</summary>
    public Published Current => _published;

    public TreeReader Reader { get; }

    /// <summary>Opens the log of a folder, or starts one where there is none, and drops what no checkpoint covers.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="signer">Key of this log.</param>
    /// <param name="knownSize">A size that the log is known to have had: it cannot be smaller now.</param>
    /// <exception cref="InvalidDataException">The folder is not a whole log of this key. Nothing was changed: to go on could sign a second tree of one size.</exception>
    public static TreeLog Open(DurableFolder folder, NoteSigner signer, long knownSize)
    {
        folder.SyncRoot();
        var reader = new TreeReader(folder.Root);
        var path = Path.Combine(folder.Root, LogVerifier.CheckpointFile);
        if (!File.Exists(path))
        {
            if (knownSize > 0 || Directory.Exists(Path.Combine(folder.Root, "tile")))
            {
                throw new InvalidDataException($"The audit tree in '{folder.Root}' had entries and has no checkpoint: it was removed. Restore the folder from the backup.");
            }

            folder.Replace(LogVerifier.KeyFile, [.. System.Text.Encoding.UTF8.GetBytes(signer.PublicKey.ToString()), (byte)'\n']);
            var start = new TreeLog(folder, signer, new RightEdge(), new Published(new Checkpoint(signer.PublicKey.Name, 0, Merkle.EmptyRoot), []));
            start.Publish(start._edge);
            return start;
        }

        var note = File.ReadAllBytes(path);
        if (!Checkpoint.TryOpen(note, signer.PublicKey, out var checkpoint))
        {
            throw new InvalidDataException($"The checkpoint in '{folder.Root}' is not signed by this node's key {signer.PublicKey}.");
        }

        if (checkpoint.Size < knownSize)
        {
            throw new InvalidDataException($"The audit tree in '{folder.Root}' was cut from {knownSize} to {checkpoint.Size} entries. Restore the folder from the backup.");
        }

        var edge = RightEdge.Read(reader, checkpoint.Size);
        var log = new TreeLog(folder, signer, edge, new Published(checkpoint, note));
        log.LoadBundle();
        if (edge.Root() != checkpoint.Root)
        {
            throw new InvalidDataException($"The tiles in '{folder.Root}' do not have the root of its checkpoint. Run: yizhan audit verify");
        }

        log.DropWhatIsNotCovered();
        return log;
    }

    /// <summary>Appends entries in order and returns the checkpoint that covers them, once all is durable.</summary>
    /// <param name="payloads">The sealed bytes of each entry, as its leaf says; none for a log of other entries.</param>
    /// <param name="entries">At most <see cref="MaxEntriesPerAppend"/>, of at most 65535 bytes each. None: nothing happens.</param>
    /// <exception cref="IOException">The disk failed. The log accepts no more until it is opened again, which finds out what is durable.</exception>
    public Checkpoint Append(IReadOnlyList<ReadOnlyMemory<byte>> entries, IReadOnlyList<byte[]>? payloads = null)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(entries.Count, MaxEntriesPerAppend);
        if (entries.FirstOrDefault(e => e.Length > EntryBundle.MaxEntryBytes) is { Length: > 0 } large)
        {
            throw new ArgumentException($"An entry has at most {EntryBundle.MaxEntryBytes} bytes, not {large.Length}.", nameof(entries));
        }

        if (_failed)
        {
            throw new IOException("The audit tree failed to write before. Open it again.");
        }

        if (entries.Count == 0)
        {
            return _published.Checkpoint;
        }

        _failed = true;
        WritePayloads(payloads ?? []);
        var before = _edge.Size;
        var edge = _edge.Copy();
        var dirtyLevels = 1;
        foreach (var entry in entries)
        {
            EntryBundle.Append(_bundle, entry.Span);
            edge.Add(Merkle.LeafHash(entry.Span), (tile, hashes) =>
            {
                if (tile.Level == 0)
                {
                    WriteBundle(tile with { Level = TileAddress.Entries });
                    _bundle.SetLength(0);
                }

                WriteHashes(tile, hashes);
                dirtyLevels = Math.Max(dirtyLevels, tile.Level + 2);
            });
        }

        WritePartialTiles(edge, dirtyLevels);
        _folder.SyncStaged();
        _folder.SyncNames();
        Publish(edge);
        foreach (var level in Enumerable.Range(TileAddress.Entries, RightEdge.Levels + 1))
        {
            DropOldPartial(TileAddress.RightEdge(level, before), TileAddress.RightEdge(level, edge.Size));
        }

        _failed = false;
        return _published.Checkpoint;
    }

    /// <summary>Keeps a checkpoint with the cosignatures of witnesses; durable on return.</summary>
    public void SaveWitnessed(byte[] note)
    {
        _folder.Replace(LogVerifier.WitnessedFile, note);
        _folder.SyncNames();
    }

    /// <summary>Signs a tombstone for whole tiles of entries and deletes their bytes; their hashes stay.</summary>
    public void Expire(long first, long end, long unix, string reason)
    {
        var roots = new List<TreeHash>();
        for (var number = first / TileAddress.FullWidth; number < end / TileAddress.FullWidth; number++)
        {
            roots.Add(Merkle.RootOf(TreeReader.Hashes(Reader.Read(new TileAddress(0, number, TileAddress.FullWidth)).Span)));
        }

        var tombstone = new Tombstone(_signer.PublicKey.Name, first, end, Merkle.RootOf([.. roots]), unix, reason);
        _folder.Replace(tombstone.Path, _signer.Sign(tombstone.ToString()).ToBytes());
        _folder.SyncNames();
        for (var number = first / TileAddress.FullWidth; number < end / TileAddress.FullWidth; number++)
        {
            var tile = new TileAddress(TileAddress.Entries, number, TileAddress.FullWidth);
            _folder.Delete(tile.ToString());
            _folder.Delete(AuditLeaf.PayloadPath(tile));
        }
    }

    public void Dispose() => _bundle.Dispose();

    /// <summary>Before the tiles: what a leaf names is there when the leaf is.</summary>
    private void WritePayloads(IReadOnlyList<byte[]> payloads)
    {
        var index = _edge.Size;
        for (var done = 0; done < payloads.Count;)
        {
            var count = (int)Math.Min(payloads.Count - done, TileAddress.FullWidth - (index % TileAddress.FullWidth));
            if (index % TileAddress.FullWidth == 0)
            {
                _payloadBytes = 0;
            }

            using var bytes = new MemoryStream();
            for (var i = done; i < done + count; i++)
            {
                bytes.Write(payloads[i]);
            }

            _folder.StageAppend(PayloadPath(index), _payloadBytes, bytes.GetBuffer().AsSpan(0, (int)bytes.Length));
            _payloadBytes += bytes.Length;
            (done, index) = (done + count, index + count);
        }
    }

    private static string PayloadPath(long index) =>
        AuditLeaf.PayloadPath(new TileAddress(TileAddress.Entries, index / TileAddress.FullWidth, TileAddress.FullWidth));

    private void WritePartialTiles(RightEdge edge, int dirtyLevels)
    {
        if (TileAddress.RightEdge(TileAddress.Entries, edge.Size) is { Width: > 0 } bundle)
        {
            WriteBundle(bundle);
        }

        for (var level = 0; level < Math.Min(dirtyLevels, RightEdge.Levels); level++)
        {
            if (TileAddress.RightEdge(level, edge.Size) is { Width: > 0 } tile)
            {
                WriteHashes(tile, edge.Row(level));
            }
        }
    }

    private void Publish(RightEdge edge)
    {
        var checkpoint = new Checkpoint(_signer.PublicKey.Name, edge.Size, edge.Root());
        var note = _signer.Sign(checkpoint.ToString()).ToBytes();
        _folder.Replace(LogVerifier.CheckpointFile, note);
        _folder.SyncNames();
        _edge = edge;
        _published = new Published(checkpoint, note);
    }

    private void WriteBundle(TileAddress tile) => _folder.StageReplace(tile.ToString(), _bundle.GetBuffer().AsSpan(0, (int)_bundle.Length));

    private void WriteHashes(TileAddress tile, IReadOnlyList<TreeHash> hashes)
    {
        var bytes = new byte[hashes.Count * TreeHash.Size];
        for (var i = 0; i < hashes.Count; i++)
        {
            hashes[i].CopyTo(bytes.AsSpan(i * TreeHash.Size));
        }

        _folder.StageReplace(tile.ToString(), bytes);
    }

    private void DropOldPartial(TileAddress old, TileAddress now)
    {
        if (old.Width > 0 && old != now)
        {
            _folder.Delete(old.ToString());
        }
    }

    private void LoadBundle()
    {
        if (TileAddress.RightEdge(TileAddress.Entries, _edge.Size) is not { Width: > 0 } tile)
        {
            return;
        }

        var bytes = Reader.Read(tile);
        var leaves = EntryBundle.Split(bytes, tile.Width, out _).Select(e => Merkle.LeafHash(e.Span));
        if (!leaves.SequenceEqual(_edge.Row(0)))
        {
            throw new InvalidDataException($"'{tile}' in '{_folder.Root}' does not have the hashes of its tree. Run: yizhan audit verify");
        }

        _bundle.Write(bytes.Span);
        foreach (var entry in EntryBundle.Split(bytes, tile.Width, out _))
        {
            _payloadBytes += AuditLeaf.TryParse(entry.Span, out var leaf) ? leaf.SealedBytes : 0;
        }

        var payload = new FileInfo(Path.Combine(_folder.Root, PayloadPath(_edge.Size)));
        if (_payloadBytes > 0 && (!payload.Exists || payload.Length < _payloadBytes))
        {
            throw new InvalidDataException($"'{payload.FullName}' is missing or cut off: the audit checkpoint needs {_payloadBytes} bytes of it. Run: yizhan audit verify");
        }
    }

    /// <summary>A kill may leave tiles that no checkpoint covers, and partial tiles that a later commit made superfluous. Both are within one append of the edge.</summary>
    private void DropWhatIsNotCovered()
    {
        const int reach = (MaxEntriesPerAppend / TileAddress.FullWidth) + 1;
        for (var number = (_edge.Size + TileAddress.FullWidth - 1) / TileAddress.FullWidth; File.Exists(Path.Combine(_folder.Root, PayloadPath(number * TileAddress.FullWidth))); number++)
        {
            _folder.Delete(PayloadPath(number * TileAddress.FullWidth));
        }

        foreach (var level in Enumerable.Range(TileAddress.Entries, RightEdge.Levels + 1))
        {
            var edge = TileAddress.RightEdge(level, _edge.Size);
            for (var number = Math.Max(0, edge.Number - reach); number <= edge.Number + reach; number++)
            {
                var full = new TileAddress(level, number, TileAddress.FullWidth);
                if (number >= edge.Number && Reader.TryReadFile(full) is not null)
                {
                    _folder.Delete(full.ToString());
                }

                foreach (var width in Reader.PartialWidths(full).Where(w => number != edge.Number || w != edge.Width))
                {
                    _folder.Delete((full with { Width = width }).ToString());
                }
            }
        }

        _folder.SyncNames();
    }
}

/// <summary>A checkpoint and the signed note that carries it.</summary>
internal sealed record Published(Checkpoint Checkpoint, byte[] Note);
