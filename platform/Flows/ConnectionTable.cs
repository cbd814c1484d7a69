using System.Net;
using System.Net.Sockets;

namespace Yizhan.Platform.Flows;

/// <summary>
/// Connections of one port, bounded in number. Who has not said yet who it is makes room for who comes, the oldest of the address that has most of them: a flood pushes
/// out itself, and a peer that speaks at once gets in. Who is known stays.
/// </summary>
/// <param name="most">Most at a time.</param>
public sealed class ConnectionTable(int most)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<IPAddress, LinkedList<Place>> _strangers = [];
    private int _open;

    /// <summary>A place for a connection; null when all are taken by peers that are known. Dispose it when the connection has ended.</summary>
    /// <param name="from">Where it comes from.</param>
    /// <param name="end">Ends it, from any thread and without waiting.</param>
    public Place? Enter(IPAddress? from, Action end)
    {
        Place? leaves = null;
        var place = new Place(this, GroupOf(from), end);
        lock (_gate)
        {
            if (_open >= most)
            {
                leaves = _strangers.Values.MaxBy(group => group.Count)?.First!.Value;
                if (leaves is null)
                {
                    return null;
                }

                leaves.WasPushedOut = true;
                Remove(leaves);
            }

            if (!_strangers.TryGetValue(place.Group, out var group))
            {
                _strangers[place.Group] = group = [];
            }

            place.Stranger = group.AddLast(place);
            place.IsIn = true;
            _open++;
        }

        leaves?.End();
        return place;
    }

    private void Remove(Place place)
    {
        if (place.IsIn)
        {
            place.IsIn = false;
            _open--;
            Know(place);
        }
    }

    private void Know(Place place)
    {
        if (place.Stranger is { } node)
        {
            place.Stranger = null;
            var group = node.List!;
            group.Remove(node);
            if (group.Count == 0)
            {
                _strangers.Remove(place.Group);
            }
        }
    }

    /// <summary>An address; of IPv6 the network of 64 bits, of which one peer has all addresses.</summary>
    private static IPAddress GroupOf(IPAddress? address) => address switch
    {
        null => IPAddress.None,
        { IsIPv4MappedToIPv6: true } => address.MapToIPv4(),
        { AddressFamily: AddressFamily.InterNetworkV6 } => new IPAddress([.. address.GetAddressBytes().AsSpan(0, 8), .. new byte[8]]),
        _ => address,
    };

    /// <summary>What one connection takes up.</summary>
    public sealed class Place : IDisposable
    {
        private readonly ConnectionTable _table;
        private readonly Action _end;

        internal Place(ConnectionTable table, IPAddress group, Action end) => (_table, Group, _end) = (table, group, end);

        /// <summary>Whether it was ended to make room.</summary>
        public bool WasPushedOut { get; internal set; }

        internal IPAddress Group { get; }

        internal bool IsIn { get; set; }

        internal LinkedListNode<Place>? Stranger { get; set; }

        /// <summary>The peer has said who it is, and may be here: it stays.</summary>
        public void Prove()
        {
            lock (_table._gate)
            {
                _table.Know(this);
            }
        }

        /// <inheritdoc/>
        public void Dispose()
        {
            lock (_table._gate)
            {
                _table.Remove(this);
            }
        }

        internal void End() => _end();
    }
}
