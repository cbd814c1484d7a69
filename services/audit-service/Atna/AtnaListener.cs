using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using System.Net;
using System.Security.Cryptography;
using System.Text.Json;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Platform.Flows;
using Yizhan.Storage;
using Yizhan.Syslog;

namespace Yizhan.Audit.Atna;

/// <summary>
/// Takes ATNA audit messages by syslog over TLS (RFC 5425) from senders with a certificate of ours. The protocol has no
/// acknowledgement: the next bytes are read when what was read is durable, so a sender that is faster waits in TCP.
/// </summary>
internal sealed partial class AtnaListener(IEventLog events, IOptions<AuditOptions> options, TimeProvider clock, ILogger<AtnaListener> logger) : BackgroundService
{
    private readonly SyslogOptions _options = options.Value.Syslog;
    private readonly ILogger _logger = logger;

    /// <summary>Where it listens; null while it does not.</summary>
    public IPEndPoint? EndPoint { get; private set; }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (_options.Port is null)
        {
            return;
        }

        _ = TlsFiles.Required("audit:syslog:certificateFile", _options.CertificateFile);
        _ = TlsFiles.Required("audit:syslog:rootFile", _options.RootFile);
        using var listener = new TlsListener("audit:syslog", _options, clock);
        EndPoint = listener.EndPoint;
        Listening(EndPoint);
        await listener.RunAsync(
            async (stream, peer, _, stopping) =>
            {
                Connected($"{peer}");
                await ReceiveAsync(stream, $"{peer}", stopping);
            },
            (peer, why) => Closed($"{peer}", why),
            stoppingToken);
    }

    private async Task ReceiveAsync(Stream stream, string peer, CancellationToken cancellationToken)
    {
        var pipe = PipeReader.Create(stream, new StreamPipeReaderOptions(bufferSize: 64 * 1024));
        try
        {
            while (true)
            {
                var read = await pipe.ReadAsync(cancellationToken);
                var buffer = read.Buffer;
                var entries = new List<Entry>();
                string? broken = null;
                try
                {
                    while (SyslogFrames.TryRead(ref buffer, _options.MaxMessageBytes, out var message))
                    {
                        entries.Add(ToEntry(message.ToArray(), peer));
                    }
                }
                catch (FormatException e)
                {
                    broken = e.Message;
                }

                if (broken is null && read.IsCompleted && !buffer.IsEmpty)
                {
                    broken = string.Create(CultureInfo.InvariantCulture, $"The connection ended within a message, of which {buffer.Length} bytes had come.");
                }

                if (broken is not null)
                {
                    entries.Add(Refused(broken, buffer.Slice(0, Math.Min(buffer.Length, _options.MaxMessageBytes)).ToArray(), peer));
                }

                if (entries.Count > 0)
                {
                    await events.AppendAsync(entries, CancellationToken.None);
                }

                pipe.AdvanceTo(buffer.Start, buffer.End);
                if (broken is not null || read.IsCompleted)
                {
                    Closed(peer, broken ?? "The sender has ended the connection.");
                    return;
                }
            }
        }
        finally
        {
            await pipe.CompleteAsync();
        }
    }

    private Entry ToEntry(byte[] bytes, string peer)
    {
        try
        {
            var message = SyslogMessage.Parse(bytes);
            return AuditMessage.ToEntry(AuditMessage.Atna, AtnaMessage.Read(message.Text), message.Text, bytes);
        }
        catch (FormatException e)
        {
            return Refused(e.Message, bytes, peer);
        }
    }

    /// <summary>What is no audit message is a fact, too: that it came, from where, and the hash of its bytes.</summary>
    private Entry Refused(string why, byte[] bytes, string peer)
    {
        var now = clock.GetUtcNow();
        var hash = Convert.ToHexStringLower(SHA256.HashData(bytes));
        var record = new AuditRecord(
            "110113", "E", 4, peer, peer.Split(':')[0], $"audit@{events.Site}", $"syslog/{hash}",
            string.Create(CultureInfo.InvariantCulture, $"Syslog bytes ({bytes.Length}) that are no audit message: {why}"), now.ToUnixTimeMilliseconds());
        return new Entry(
            Lane.Normal, AuditRecord.EventType, $"audit/syslog/{Guid.CreateVersion7(now):N}", "audit", record.RecordedMs,
            JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord));
    }

    [LoggerMessage(7020, LogLevel.Information, "Audit messages are taken by syslog over TLS on {EndPoint}.")]
    private partial void Listening(IPEndPoint endPoint);

    [LoggerMessage(7021, LogLevel.Information, "{Peer} sends audit messages.")]
    private partial void Connected(string peer);

    [LoggerMessage(7022, LogLevel.Warning, "The audit connection of {Peer} ended: {Why}")]
    private partial void Closed(string peer, string why);
}
