using System.Text.Json;
using Yizhan.Audit.Tree;
using Yizhan.Storage;
using Yizhan.Transparency;

namespace Yizhan.Audit;

/// <summary>
/// Where each source is, and where to go on reading. Written after the tree, so it is never ahead of an honest one; what it lacks
/// after a kill is read from the leaves again.
/// </summary>
internal sealed class AuditState
{
    private const string File = "state.json";

    /// <summary>Size of the log that it is about.</summary>
    public long Size { get; set; }

    /// <summary>Position in the event log of an epoch up to which everything is in the log.</summary>
    public Dictionary<Guid, long> Cursors { get; set; } = [];

    /// <summary>All sources.</summary>
    public List<SourceState> Sources { get; set; } = [];

    private readonly Dictionary<(string, Guid, int), SourceState> _bySource = [];

    /// <summary>Reads the state of a folder; an empty one where there is none, or a damaged one.</summary>
    public static AuditState Read(string folder)
    {
        var path = Path.Combine(folder, File);
        try
        {
            var state = System.IO.File.Exists(path) ? JsonSerializer.Deserialize(System.IO.File.ReadAllBytes(path), AuditJson.Default.AuditState) : null;
            foreach (var source in state?.Sources ?? [])
            {
                state!._bySource[(source.Site, source.Epoch, source.Lane)] = source;
            }

            return state ?? new AuditState();
        }
        catch (JsonException)
        {
            return new AuditState();
        }
    }

    /// <summary>Writes it; durable on return.</summary>
    public void Save(DurableFolder folder)
    {
        folder.Replace(File, JsonSerializer.SerializeToUtf8Bytes(this, AuditJson.Default.AuditState));
        folder.SyncNames();
    }

    /// <summary>The state of a source; a new one when it was never seen.</summary>
    public SourceState Of(EntryIdentity origin) => Of(origin.Site, origin.Epoch, (int)origin.Lane);

    /// <summary>Takes what a leaf says: after a kill between the tree and this.</summary>
    public void Take(AuditLeaf leaf)
    {
        var source = Of(leaf.Source.Site, leaf.Source.Epoch, leaf.Source.Lane);
        source.LastLeaf = Math.Max(source.LastLeaf, leaf.Source.Sequence);
    }

    private SourceState Of(string site, Guid epoch, int lane)
    {
        if (!_bySource.TryGetValue((site, epoch, lane), out var source))
        {
            source = new SourceState { Site = site, Epoch = epoch, Lane = lane };
            _bySource[(site, epoch, lane)] = source;
            Sources.Add(source);
        }

        return source;
    }
}

/// <summary>One lane of one site's event log.</summary>
internal sealed class SourceState
{
    /// <summary>Site of the log.</summary>
    public required string Site { get; init; }

    /// <summary>Its epoch.</summary>
    public required Guid Epoch { get; init; }

    /// <summary>The lane.</summary>
    public required int Lane { get; init; }

    /// <summary>Sequence of its newest leaf; 0 when it has none.</summary>
    public long LastLeaf { get; set; }

    /// <summary>Sequence that was read last, whatever it was; 0 when that is not known, so that nothing can be said of a gap.</summary>
    public long LastRead { get; set; }
}
