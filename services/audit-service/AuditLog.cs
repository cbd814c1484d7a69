using System.Text.Json;
using Yizhan.Audit.Notes;
using Yizhan.Audit.Tree;
using Yizhan.Storage;

namespace Yizhan.Audit;

/// <summary>The tree and its index: takes entries of the event log, each once. One writer, many readers.</summary>
internal sealed class AuditLog : IDisposable
{
    private const int CatchUpBatch = 4096;

    private readonly NoteSigner _signer;
    private readonly TreeLog _tree;
    private readonly AuditIndex _index;
    private readonly string _site;

    private AuditLog(NoteSigner signer, TreeLog tree, AuditIndex index, string site, string treeFolder)
    {
        (_signer, _tree, _index, _site, TreeFolder) = (signer, tree, index, site, treeFolder);
    }

    /// <summary>The last durable checkpoint, with its note.</summary>
    public Published Current => _tree.Current;

    public TreeReader Reader => _tree.Reader;

    public NoteKey Key => _signer.PublicKey;

    public string TreeFolder { get; }

    /// <summary>Opens the log below a folder, or starts one with a new key.</summary>
    /// <param name="folder">Folder for key, tree and index.</param>
    /// <param name="site">Site of this node; the log's origin is <c>yizhan/audit/</c> and it.</param>
    /// <param name="onStep">Called after each step of writing the tree; null but in tests.</param>
    /// <exception cref="InvalidDataException">Trust is broken: the folder is not the log that this node has written.</exception>
    public static AuditLog Open(string folder, string site, Action<FileStep, string>? onStep = null)
    {
        const string keyFile = "signing.key";
        var treeFolder = Path.Combine(folder, "tree");
        var origin = $"yizhan/audit/{site}";
        var signer = NoteSigner.Read(origin, Path.Combine(folder, keyFile));
        if (signer is null)
        {
            if (Directory.Exists(treeFolder))
            {
                throw new InvalidDataException($"'{Path.Combine(folder, keyFile)}' is missing and the log that it signs is there. Restore it from the backup of this node.");
            }

            signer = NoteSigner.Create(origin);
            signer.Save(new DurableFolder(folder), keyFile);
        }

        AuditIndex? index = null;
        TreeLog? tree = null;
        try
        {
            index = AuditIndex.Open(Path.Combine(folder, "index.db"));
            tree = TreeLog.Open(new DurableFolder(treeFolder, onStep), signer, index.Size);
            var log = new AuditLog(signer, tree, index, site, treeFolder);
            log.CatchUp();
            return log;
        }
        catch
        {
            tree?.Dispose();
            index?.Dispose();
            signer.Dispose();
            throw;
        }
    }

    /// <summary>Where to go on reading the event log of this epoch.</summary>
    public long Cursor(Guid epoch) => _index.Cursor(epoch);

    /// <summary>
    /// Takes the next entries of the event log; returns how many leaves they gave, once these are durable under a checkpoint. What
    /// is already in the tree gives none, so a replay changes nothing.
    /// </summary>
    public int Append(IReadOnlyList<LoggedEntry> entries, Guid epoch)
    {
        var leaves = new List<AuditLeaf>(entries.Count);
        var inBatch = new HashSet<(EntryIdentity, string?, string?)>();
        foreach (var entry in entries)
        {
            if (AuditLeaf.From(entry, _site) is { } leaf && inBatch.Add(IdentityOf(leaf)) && !_index.Knows(leaf))
            {
                leaves.Add(leaf);
            }
        }

        _tree.Append([.. leaves.Select(l => (ReadOnlyMemory<byte>)l.ToBytes())]);
        _index.Add(leaves, (epoch, entries[^1].Position));
        return leaves.Count;
    }

    /// <summary>Indexes of the leaves that match, the newest record first.</summary>
    public List<long> Find(AuditQuery query) => _index.Find(query);

    public void Dispose()
    {
        _tree.Dispose();
        _index.Dispose();
        _signer.Dispose();
    }

    /// <summary>A kill between the tree and the index leaves the index behind.</summary>
    private void CatchUp()
    {
        var size = _tree.Current.Checkpoint.Size;
        try
        {
            foreach (var chunk in _tree.Reader.Entries(_index.Size, size).Chunk(CatchUpBatch))
            {
                _index.Add([.. chunk.Select(AuditLeaf.Parse)], cursor: null);
            }
        }
        catch (JsonException e)
        {
            throw new InvalidDataException($"Near entry {_index.Size} of the audit tree there is no leaf of ours. Run: yizhan audit verify", e);
        }
    }

    private static (EntryIdentity, string?, string?) IdentityOf(AuditLeaf leaf) => leaf.Kind == AuditLeaf.Transferred
        ? (new EntryIdentity(leaf.Origin.Site, Guid.Empty, default, 0), leaf.Record.Entity, leaf.Association)
        : (leaf.Origin, null, null);
}
