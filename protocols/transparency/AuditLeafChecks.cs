using System.Globalization;

namespace Yizhan.Transparency;

/// <summary>What an entry of an audit log must be beyond its hash: a leaf, with the sealed bytes that it names, in the chain of its source.</summary>
internal sealed class AuditLeafChecks(ILogFiles files, Action<string> remark)
{
    private readonly Dictionary<(string Site, Guid Epoch, int Lane), long> _last = [];
    private readonly byte[] _sealed = new byte[AuditLeaf.MaxSealedBytes];

    /// <summary>After entries that are gone nobody knows the sequence before.</summary>
    public void Forget() => _last.Clear();

    /// <summary>Checks the entries of a tile; they are in the tree already.</summary>
    /// <exception cref="BrokenLogException">Names the first that is wrong.</exception>
    public void Check(TileAddress tile, IReadOnlyList<ReadOnlyMemory<byte>> entries)
    {
        var path = AuditLeaf.PayloadPath(tile);
        using var payload = files.TryOpen(path);
        for (var i = 0; i < entries.Count; i++)
        {
            var index = (tile.Number * TileAddress.FullWidth) + i;
            if (!AuditLeaf.TryParse(entries[i].Span, out var leaf))
            {
                throw new BrokenLogException($"Entry {index}: it is not an audit leaf of version 2.", index);
            }

            CheckSource(leaf, index);
            var bytes = _sealed.AsSpan(0, leaf.SealedBytes);
            if (payload is null || payload.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false) < bytes.Length)
            {
                throw new BrokenLogException($"Entry {index}: its sealed bytes in '{path}' are missing.", index);
            }

            if (TreeHash.Of(bytes) != leaf.Sealed)
            {
                throw new BrokenLogException($"Entry {index}: its sealed bytes in '{path}' were changed.", index);
            }
        }

        if (payload?.ReadByte() >= 0)
        {
            var last = (tile.Number * TileAddress.FullWidth) + entries.Count - 1;
            if (tile.IsFull)
            {
                throw new BrokenLogException($"'{path}' has bytes after entry {last}.", last);
            }

            remark($"'{path}' has bytes after entry {last}: a commit was interrupted.");
        }
    }

    private void CheckSource(AuditLeaf leaf, long index)
    {
        var (site, epoch, lane, previous, sequence) = leaf.Source;
        if (_last.TryGetValue((site, epoch, lane), out var last) && (previous != last || sequence <= last))
        {
            throw new BrokenLogException(
                string.Create(CultureInfo.InvariantCulture, $"Entry {index}: source {site}, lane {lane} was at sequence {last}, and this entry follows {previous}: entries between them are missing."),
                index);
        }

        _last[(site, epoch, lane)] = sequence;
        if (leaf.Kind == "gap")
        {
            remark(string.Create(
                CultureInfo.InvariantCulture, $"Entry {index} records a gap: source {site}, lane {lane} did not deliver what it had after sequence {previous} until {sequence}."));
        }
    }
}

/// <summary>A log is not what was signed.</summary>
/// <param name="message">What is wrong, for people.</param>
/// <param name="entry">The first entry that is not proven, when it can be narrowed to one.</param>
internal sealed class BrokenLogException(string message, long? entry = null) : Exception(message)
{
    public long? Entry { get; } = entry;
}
