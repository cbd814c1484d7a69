using System.Text.Json;
using Yizhan.Audit.Index;
using Yizhan.Audit.Notes;
using Yizhan.Audit.Sealing;
using Yizhan.Audit.Tree;
using Yizhan.Storage;
using Yizhan.Transparency;

namespace Yizhan.Audit;

/// <summary>The tree, the sealed records, their keys and the index: takes entries of the event log, each once. Writers wait for each other; readers are many.</summary>
internal sealed class AuditLog : IDisposable
{
    private const int CatchUpBatch = 4096;
    private const string KeyField = "key";

    private readonly Lock _writer = new();
    private readonly NoteSigner _signer;
    private readonly TreeLog _tree;
    private readonly AuditIndex _index;
    private readonly TermHasher _terms;
    private readonly AuditState _state;
    private readonly DurableFolder _folder;
    private readonly string _site;
    private volatile Published _current;

    private AuditLog(DurableFolder folder, NoteSigner signer, TreeLog tree, AuditIndex index, SubjectKeys keys, AuditState state, string site, string treeFolder)
    {
        (_folder, _signer, _tree, _index, Keys, _state, _site, TreeFolder) = (folder, signer, tree, index, keys, state, site, treeFolder);
        _terms = new TermHasher(keys.IndexSecret);
        _current = tree.Current;
    }

    /// <summary>
    /// The last durable checkpoint whose entries can all be found, with its note. The tree is ahead of it while the index takes what was just made durable: whoever is
    /// told of a size may rely on it that a search then leaves none of these entries out.
    /// </summary>
    public Published Current => _current;

    public TreeReader Reader => _tree.Reader;

    public NoteKey Key => _signer.PublicKey;

    public NoteSigner Signer => _signer;

    public SubjectKeys Keys { get; }

    public string TreeFolder { get; }

    /// <summary>What may be given to anybody who verifies.</summary>
    public ILogFiles Files => new LogFolder(TreeFolder);

    /// <summary>Opens the log below a folder, or starts one with a new key.</summary>
    /// <param name="folder">Folder for signing key, tree and index.</param>
    /// <param name="keysFolder">Folder for the keys of subjects.</param>
    /// <param name="site">Site of this node; the log's origin is <c>yizhan/audit/</c> and it.</param>
    /// <param name="onStep">Called after each step of writing the tree; null but in tests.</param>
    /// <exception cref="InvalidDataException">Trust is broken: the folder is not the log that this node has written.</exception>
    public static AuditLog Open(string folder, string keysFolder, string site, Action<FileStep, string>? onStep = null)
    {
        const string keyFile = "signing.key";
        var treeFolder = Path.Combine(folder, "tree");
        var origin = $"yizhan/audit/{site}";
        var durable = new DurableFolder(folder);
        var signer = NoteSigner.Read(origin, Path.Combine(folder, keyFile));
        if (signer is null)
        {
            if (Directory.Exists(treeFolder))
            {
                throw new InvalidDataException($"'{Path.Combine(folder, keyFile)}' is missing and the log that it signs is there. Restore it from the backup of this node.");
            }

            signer = NoteSigner.Create(origin);
            signer.Save(durable, keyFile);
        }

        SubjectKeys? keys = null;
        AuditIndex? index = null;
        TreeLog? tree = null;
        try
        {
            keys = SubjectKeys.Open(keysFolder);
            index = AuditIndex.Open(Path.Combine(folder, "index"));
            var state = AuditState.Read(folder);
            tree = TreeLog.Open(new DurableFolder(treeFolder, onStep), signer, Math.Max(state.Size, index.Size));
            var log = new AuditLog(durable, signer, tree, index, keys, state, site, treeFolder);
            log.CatchUp();
            return log;
        }
        catch
        {
            tree?.Dispose();
            index?.Dispose();
            keys?.Dispose();
            signer.Dispose();
            throw;
        }
    }

    /// <summary>Where to go on reading the event log of this epoch.</summary>
    public long Cursor(Guid epoch) => _state.Cursors.GetValueOrDefault(epoch);

    /// <summary>
    /// Takes the next entries of the event log; says what they gave, once it is durable under a checkpoint. What is already in the log
    /// gives nothing, so a replay changes nothing.
    /// </summary>
    public Appended Append(IReadOnlyList<LoggedEntry> entries, Guid epoch)
    {
        lock (_writer)
        {
            var drafts = Drafts(entries);
            var (leaves, payloads, terms) = Seal(drafts);
            Keys.Commit();
            _tree.Append(leaves, payloads);
            _index.Add(_tree.Current.Checkpoint.Size, terms);
            _current = _tree.Current;
            foreach (var draft in drafts.Where(d => d.Kind == AuditDraft.Erasure))
            {
                Erase(JsonSerializer.Deserialize(draft.Payload.Data.Span, AuditJson.Default.ErasureOrder)!);
            }

            (_state.Size, _state.Cursors[epoch]) = (_tree.Current.Checkpoint.Size, entries[^1].Position);
            _state.Save(_folder);
            return new Appended(drafts.Count, [.. drafts.Where(d => d.Kind == AuditDraft.Gap).Select(d => $"site {d.Origin.Site}: {d.Facts.Detail}")]);
        }
    }

    /// <summary>Records that match, the newest first, with what can still be read of them.</summary>
    public IReadOnlyList<AuditEntry> Find(AuditQuery query)
    {
        var size = query.Size ?? _current.Checkpoint.Size;
        var found = new List<AuditEntry>();
        var index = new IndexQuery([.. query.Terms.Select(t => _terms.Of(t.Field, t.Value))], query.FromMs, query.ToMs);
        var before = query.Before;
        while (found.Count < query.Limit)
        {
            var page = _index.Find(index, query.Limit - found.Count, before);
            foreach (var leaf in page)
            {
                // Two values may have one term, and one that was just erased may still be on its way out.
                if (leaf.Leaf < size && Read(leaf.Leaf, size) is { Facts: { } facts } entry && query.Matches(entry, facts))
                {
                    found.Add(entry);
                }
            }

            if (page.Count == 0)
            {
                break;
            }

            before = page[^1];
        }

        return found;
    }

    /// <summary>An entry, opened as far as its key is there.</summary>
    /// <exception cref="InvalidDataException">The entry has expired, or a file of the log is missing or damaged.</exception>
    public AuditEntry Read(long index, long size)
    {
        var (leafBytes, sealedBytes) = ReadStored(index, size);
        return !AuditLeaf.TryParse(leafBytes.Span, out var leaf)
            ? throw new InvalidDataException($"Entry {index} of the audit log is not a leaf of ours. Run: yizhan audit verify")
            : new AuditEntry(index, leaf, leafBytes, sealedBytes, SealedRecord.Open(Keys, sealedBytes, leaf), _site);
    }

    /// <summary>Entries in order, from the first that is still there.</summary>
    public IEnumerable<AuditEntry> Entries(long from, long size)
    {
        foreach (var (index, _) in _tree.Reader.Entries(from, size))
        {
            yield return Read(index, size);
        }
    }

    /// <summary>Runs of whole tiles whose entries are all older than a time and that no hold names; a run has at most 4096 tiles.</summary>
    public IEnumerable<(long First, long End)> Expirable(long beforeMs)
    {
        const int maxTiles = 4096;
        const int enoughYoung = 64;
        var holds = Keys.Holds();
        if (holds.Any(h => h.Subject == "*"))
        {
            yield break;
        }

        var held = holds.Select(h => Keys.IdOf(h.Subject)).OfType<Guid>().ToHashSet();
        var (first, end, young) = (0L, 0L, 0);
        var tiles = _tree.Current.Checkpoint.Size / TileAddress.FullWidth;
        for (var number = 0L; number < tiles && young < enoughYoung; number++)
        {
            var start = number * TileAddress.FullWidth;
            var mayExpire = MayExpire(new TileAddress(TileAddress.Entries, number, TileAddress.FullWidth), beforeMs, held);
            young = mayExpire == false ? young + 1 : 0;
            if (mayExpire == true)
            {
                first = end == start && end > first ? first : start;
                end = start + TileAddress.FullWidth;
            }

            if (end > first && (mayExpire != true || end - first == maxTiles * TileAddress.FullWidth || number == tiles - 1))
            {
                yield return (first, end);
                first = end;
            }
        }
    }

    /// <summary>Keeps a checkpoint with the cosignatures of witnesses.</summary>
    public void SaveWitnessed(byte[] note)
    {
        lock (_writer)
        {
            _tree.SaveWitnessed(note);
        }
    }

    /// <summary>Signs the tombstone of entries, then removes their bytes and what leads to them.</summary>
    public void Expire(long first, long end, DateTimeOffset now, string reason)
    {
        lock (_writer)
        {
            _tree.Expire(first, end, now.ToUnixTimeSeconds(), reason);
            _index.Forget(first, end);
        }
    }

    /// <summary>The id of the key that a subject's records are sealed under; null when there is none.</summary>
    public Guid? KeyOf(string subject) => Keys.IdOf(subject);

    public void Dispose()
    {
        Keys.MarkErasuresApplied(_tree.Current.Checkpoint.Size);
        _tree.Dispose();
        _index.Dispose();
        Keys.Dispose();
        _signer.Dispose();
    }

    /// <summary>Null when the tile is gone already.</summary>
    private bool? MayExpire(TileAddress tile, long beforeMs, HashSet<Guid> held)
    {
        if (_tree.Reader.TryRead(tile) is not { } bundle)
        {
            return null;
        }

        using var file = _tree.Reader.TryOpen(AuditLeaf.PayloadPath(tile));
        var keyId = new byte[16];
        var offset = 0L;
        foreach (var entry in EntryBundle.Split(bundle, tile.Width, out _))
        {
            if (!AuditLeaf.TryParse(entry.Span, out var leaf) || leaf.RecordedMs >= beforeMs || file is null)
            {
                return false;
            }

            file.Seek(offset, SeekOrigin.Begin);
            file.ReadExactly(keyId);
            offset += leaf.SealedBytes;
            if (held.Contains(SealedRecord.KeyIdOf(keyId)))
            {
                return false;
            }
        }

        return true;
    }

    private List<AuditDraft> Drafts(IReadOnlyList<LoggedEntry> entries)
    {
        var drafts = new List<AuditDraft>(entries.Count);
        var transfers = new HashSet<ulong>();
        foreach (var entry in entries)
        {
            var source = _state.Of(entry.Identity);
            if (entry.Identity.Sequence <= Math.Max(source.LastRead, source.LastLeaf))
            {
                source.LastRead = Math.Max(source.LastRead, entry.Identity.Sequence);
                continue;
            }

            if (source.LastRead > 0 && entry.Identity.Sequence > source.LastRead + 1)
            {
                drafts.Add(AuditDraft.MissingBefore(entry, source.LastRead, _site));
            }

            source.LastRead = entry.Identity.Sequence;
            if (AuditDraft.From(entry, _site) is { } draft
                && (draft.Kind != AuditDraft.Transferred || (transfers.Add(TransferTerm(draft)) && !_index.Contains(TransferTerm(draft)))))
            {
                drafts.Add(draft);
            }
        }

        return drafts;
    }

    private (ReadOnlyMemory<byte>[] Leaves, byte[][] Payloads, IndexEntry[] Terms) Seal(List<AuditDraft> drafts)
    {
        var leaves = new ReadOnlyMemory<byte>[drafts.Count];
        var payloads = new byte[drafts.Count][];
        var terms = new IndexEntry[drafts.Count];
        var first = _tree.Current.Checkpoint.Size;
        var keys = new SubjectKey[drafts.Count];
        var previous = new long[drafts.Count];
        for (var i = 0; i < drafts.Count; i++)
        {
            var source = _state.Of(drafts[i].Origin);
            (previous[i], source.LastLeaf) = (source.LastLeaf, drafts[i].Origin.Sequence);
            keys[i] = drafts[i].Kind == AuditDraft.Erasure ? SubjectKeys.Known : Keys.For(drafts[i].Facts.Subject);
        }

        Parallel.For(0, drafts.Count, i =>
        {
            var draft = drafts[i];
            var (site, epoch, lane, sequence) = draft.Origin;
            payloads[i] = SealedRecord.Seal(keys[i], draft.Payload.ToBytes(), out var hash);
            var source = new AuditSource(site, epoch, (int)lane, previous[i], sequence);
            leaves[i] = new AuditLeaf(draft.Kind, hash, draft.Facts.RecordedMs, TreeHash.Of(payloads[i]), payloads[i].Length, source).ToBytes();
            terms[i] = new IndexEntry(first + i, draft.Facts.RecordedMs, TermsOf(draft.Kind, site, keys[i].Id, draft.Payload, draft.Facts));
        });
        return (leaves, payloads, terms);
    }

    private ulong[] TermsOf(string kind, string site, Guid key, AuditPayload payload, AuditFacts facts)
    {
        ulong[] terms = [.. _terms.Of(site, payload.Id, facts), _terms.Of(KeyField, key.ToString("N"))];
        return kind == AuditDraft.Transferred ? [.. terms, TransferTerm(site, payload, facts)] : terms;
    }

    private ulong TransferTerm(AuditDraft draft) => TransferTerm(draft.Origin.Site, draft.Payload, draft.Facts);

    private ulong TransferTerm(string site, AuditPayload payload, AuditFacts facts) =>
        _terms.Of(Field.Transfer, $"{site}\0{facts.Entities[0]}\0{payload.Association}");

    /// <summary>The index forgets first: as long as the key is there, what is left to forget can be found again.</summary>
    private void Erase(ErasureOrder order)
    {
        var leaves = _index.Find(new IndexQuery([_terms.Of(KeyField, order.KeyId.ToString("N"))], null, null), int.MaxValue, null);
        _index.Forget(leaves.Select(l => l.Leaf).ToHashSet());
        Keys.Destroy(order.KeyId, order.RecordedMs);
    }

    private (ReadOnlyMemory<byte> Leaf, byte[] Sealed) ReadStored(long index, long size)
    {
        var tile = TreeReader.Covering(TileAddress.Entries, index, size);
        var inTile = (int)(index % TileAddress.FullWidth);
        var entries = EntryBundle.Split(_tree.Reader.Read(tile), inTile + 1, out _);
        long offset = 0;
        var length = 0;
        for (var i = 0; i <= inTile; i++)
        {
            offset += length;
            length = AuditLeaf.SealedBytesOf(entries[i].Span);
        }

        var bytes = new byte[length];
        using var file = _tree.Reader.TryOpen(AuditLeaf.PayloadPath(tile));
        file?.Seek(offset, SeekOrigin.Begin);
        return file?.ReadAtLeast(bytes, length, throwOnEndOfStream: false) == length
            ? (entries[inTile], bytes)
            : throw new InvalidDataException($"The sealed bytes of entry {index} are missing. Run: yizhan audit verify");
    }

    /// <summary>A kill between the tree, the index and the state leaves these behind; a restored key store has keys that were destroyed.</summary>
    private void CatchUp()
    {
        var size = _tree.Current.Checkpoint.Size;
        var erasuresFrom = Keys.ErasuresApplied;
        foreach (var (index, bytes) in _tree.Reader.Entries(Math.Min(_state.Size, erasuresFrom), size))
        {
            if (!AuditLeaf.TryParse(bytes.Span, out var leaf))
            {
                throw new InvalidDataException($"Entry {index} of the audit tree is no leaf of ours. Run: yizhan audit verify");
            }

            if (index >= _state.Size)
            {
                _state.Take(leaf);
            }

            if (leaf.Kind == AuditDraft.Erasure && index >= erasuresFrom && leaf.Source.Site == _site && Read(index, size).Payload is { } payload)
            {
                Erase(JsonSerializer.Deserialize(payload.Data.Span, AuditJson.Default.ErasureOrder)!);
            }
        }

        _state.Size = size;
        foreach (var chunk in Entries(_index.Size, size).Chunk(CatchUpBatch))
        {
            _index.Add(
                chunk[^1].Index + 1,
                [.. chunk.Where(e => e.Facts is not null).Select(e => new IndexEntry(
                    e.Index, e.Leaf.RecordedMs, TermsOf(e.Leaf.Kind, e.Leaf.Source.Site, SealedRecord.KeyIdOf(e.Sealed), e.Payload!, e.Facts!)))]);
        }

        _index.Add(size, []);
        Keys.MarkErasuresApplied(size);
    }
}

/// <summary>What a call of <see cref="AuditLog.Append"/> gave.</summary>
/// <param name="Leaves">New entries of the log.</param>
/// <param name="Gaps">What sources did not deliver, for people.</param>
internal sealed record Appended(int Leaves, IReadOnlyList<string> Gaps);

/// <summary>What to look for; all of it must match.</summary>
/// <param name="Terms">Fields (<see cref="Field"/>) and their values.</param>
/// <param name="FromMs">First millisecond; null: any.</param>
/// <param name="ToMs">First millisecond after; null: any.</param>
/// <param name="Limit">Most records.</param>
/// <param name="Before">Where the page before ended; null: from the newest.</param>
/// <param name="Size">Only among the first so many entries, those of the checkpoint that the answer names; null: all there are.</param>
internal sealed record AuditQuery(
    IReadOnlyList<(string Field, string Value)> Terms, long? FromMs, long? ToMs, int Limit, FoundLeaf? Before = null, long? Size = null)
{
    /// <summary>True when the record has every value that was asked for.</summary>
    public bool Matches(AuditEntry entry, AuditFacts facts) => Terms.All(t => t.Field switch
    {
        Field.Type => facts.Type == t.Value,
        Field.Subtype => facts.Subtypes.Contains(t.Value),
        Field.Action => facts.Action == t.Value,
        Field.Outcome => facts.Outcome.ToString(System.Globalization.CultureInfo.InvariantCulture) == t.Value,
        Field.Agent => facts.Agents.Contains(t.Value),
        Field.Address => facts.Addresses.Contains(t.Value),
        Field.Patient => facts.Patients.Contains(t.Value),
        Field.Entity => facts.Entities.Contains(t.Value),
        Field.Source => facts.Source == t.Value,
        Field.Site => entry.Leaf.Source.Site == t.Value || facts.SourceSite == t.Value,
        Field.Id => entry.Payload!.Id == t.Value,
        _ => false,
    });
}

/// <summary>An entry of the log, and the record under its seal.</summary>
internal sealed class AuditEntry(long index, AuditLeaf leaf, ReadOnlyMemory<byte> leafBytes, byte[] sealedBytes, OpenedRecord? opened, string site)
{
    /// <summary>Place in the log.</summary>
    public long Index { get; } = index;

    public AuditLeaf Leaf { get; } = leaf;

    public ReadOnlyMemory<byte> LeafBytes { get; } = leafBytes;

    public byte[] Sealed { get; } = sealedBytes;

    /// <summary>Salt and payload; null when the key was destroyed.</summary>
    public OpenedRecord? Opened { get; } = opened;

    /// <summary>The payload; null when the key was destroyed.</summary>
    public AuditPayload? Payload { get; } = opened is null ? null : AuditPayload.Parse(opened.Payload);

    /// <summary>What it says; null when the key was destroyed.</summary>
    public AuditFacts? Facts => field ??= Payload?.ToFacts(site);
}
