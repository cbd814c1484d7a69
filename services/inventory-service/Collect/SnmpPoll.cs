using System.Net.Sockets;
using Yizhan.Contracts;
using Yizhan.Inventory.Equipment;
using Yizhan.Snmp;

namespace Yizhan.Inventory.Collect;

/// <summary>Asks a device by SNMPv3 who it is: SNMPv2-MIB system, IF-MIB addresses, ENTITY-MIB serial number and model.</summary>
internal sealed class SnmpPoll(TimeProvider clock)
{
    private const string System = "1.3.6.1.2.1.1.";
    private const string PhysicalAddress = "1.3.6.1.2.1.2.2.1.6";
    private const string Entity = "1.3.6.1.2.1.47.1.1.1.1.";
    private const int Attempts = 3;
    private const int MaxRows = 64;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(3);

    /// <summary>Asks; a device that does not answer is a failed run.</summary>
    public async Task<bool> ReadAsync(SourceOptions source, Sink sink, CancellationToken cancellationToken)
    {
        var session = new SnmpSession(new UsmUser(
            source.User!, source.SnmpAuthentication == "SHA" ? SnmpAuthentication.Sha1 : SnmpAuthentication.Sha256, source.Password(), source.PrivacyPassword()));
        using var socket = new UdpClient();
        socket.Connect(source.Host!, source.Port ?? 161);
        await AskAsync(socket, session, session.Discovery, cancellationToken);

        // sysDescr, sysObjectID, sysName
        var system = await ValuesAsync(socket, session, () => session.GetRequest($"{System}1.0", $"{System}2.0", $"{System}5.0"), cancellationToken);
        var addresses = await WalkAsync(socket, session, PhysicalAddress, cancellationToken);
        var serial = (await WalkAsync(socket, session, $"{Entity}11", cancellationToken)).Select(v => v.Text).FirstOrDefault(t => t?.Length > 0);
        var model = (await WalkAsync(socket, session, $"{Entity}13", cancellationToken)).Select(v => v.Text).FirstOrDefault(t => t?.Length > 0);
        var now = sink.NowMs;
        await sink.ReportAsync(
            new AssetReported(
                source.Name, $"{now}", now, "network", system[2].Text ?? "", "", model ?? system[1].Text ?? "",
                AssetKeys.All([
                    ("engine", Convert.ToHexString(session.EngineId.Span)), ("serial", serial), ("host", system[2].Text),
                    .. addresses.Where(a => a.Bytes.Length == 6).Select(a => ("mac", (string?)Convert.ToHexString(a.Bytes.Span)))]),
                [source.Host!], [new AssetSoftware("system", system[0].Text is { Length: > 200 } long_ ? long_[..200] : system[0].Text ?? "")]),
            cancellationToken);
        return true;
    }

    private async Task<List<SnmpValue>> WalkAsync(UdpClient socket, SnmpSession session, string column, CancellationToken cancellationToken)
    {
        var rows = new List<SnmpValue>();
        for (var at = column; rows.Count < MaxRows;)
        {
            var next = (await ValuesAsync(socket, session, () => session.GetNextRequest(at), cancellationToken))[0];
            if (!next.Oid.StartsWith(column + ".", StringComparison.Ordinal) || next.Oid == at || next.Text is null)
            {
                break;
            }

            rows.Add(next);
            at = next.Oid;
        }

        return rows;
    }

    private async Task<IReadOnlyList<SnmpValue>> ValuesAsync(UdpClient socket, SnmpSession session, Func<byte[]> request, CancellationToken cancellationToken) =>
        await AskAsync(socket, session, request, cancellationToken) ?? await AskAsync(socket, session, request, cancellationToken)
        ?? throw new SnmpException("The device does not agree on the time.");

    /// <summary>Sends a request until it is answered; each attempt is a new message.</summary>
    private async Task<IReadOnlyList<SnmpValue>?> AskAsync(UdpClient socket, SnmpSession session, Func<byte[]> request, CancellationToken cancellationToken)
    {
        for (var attempt = 1; ; attempt++)
        {
            await socket.SendAsync(request(), cancellationToken);
            using var limit = new CancellationTokenSource(Patience, clock);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, limit.Token);
            try
            {
                return session.Read((await socket.ReceiveAsync(either.Token)).Buffer);
            }
            catch (OperationCanceledException) when (limit.IsCancellationRequested && attempt < Attempts)
            {
                // A datagram may be lost.
            }
            catch (OperationCanceledException) when (limit.IsCancellationRequested)
            {
                throw new SnmpException($"{socket.Client.RemoteEndPoint} did not answer {Attempts} requests.");
            }
        }
    }
}
