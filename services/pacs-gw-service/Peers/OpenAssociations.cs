using System.Collections.Concurrent;
using Yizhan.Platform;

namespace Yizhan.PacsGw.Peers;

/// <summary>The associations that peers have open with us now.</summary>
internal sealed class OpenAssociations : IClinicalWork
{
    private readonly ConcurrentDictionary<PeerAssociation, byte> _open = [];
    private long _begun;

    /// <inheritdoc/>
    string IClinicalWork.Kind => "association";

    /// <inheritdoc/>
    int IClinicalWork.UnderWay => _open.Count;

    /// <inheritdoc/>
    long IClinicalWork.Begun => Interlocked.Read(ref _begun);

    public void Add(PeerAssociation association)
    {
        Interlocked.Increment(ref _begun);
        _open.TryAdd(association, 0);
    }

    public void Remove(PeerAssociation association) => _open.TryRemove(association, out _);

    /// <summary>One of a peer that has agreed on a SOP class; null when there is none.</summary>
    public PeerAssociation? Find(string aeTitle, string sopClassUid) => _open.Keys.FirstOrDefault(
        a => a.Peer.AeTitle == aeTitle && a.Contexts.Any(c => c.AbstractSyntax == sopClassUid));

    /// <summary>How many each peer has.</summary>
    public IReadOnlyDictionary<string, int> Counts() =>
        _open.Keys.GroupBy(a => a.Peer.AeTitle, StringComparer.Ordinal).ToDictionary(g => g.Key, g => g.Count(), StringComparer.Ordinal);
}
