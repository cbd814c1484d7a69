using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Platform.Certificates;
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
        if (_options.Port is not { } port)
        {
            return;
        }

        using var certificate = TlsFiles.Certificate("audit:syslog", _options.CertificateFile, _options.KeyFile);
        var trust = CertificateTrust.FromFile(TlsFiles.Required("audit:syslog:rootFile", _options.RootFile), clock);
        using var listener = new TcpListener(IPAddress.Parse(_options.Address), port);
        listener.Start();
        EndPoint = (IPEndPoint)listener.LocalEndpoint;
        Listening(EndPoint);
        using var slots = new SemaphoreSlim(_options.MaxConnections);
        var connections = new List<Task>();
        try
        {
            while (true)
            {
                await slots.WaitAsync(stoppingToken);
                var client = await listener.AcceptTcpClientAsync(stoppingToken);
                connections.RemoveAll(c => c.IsCompleted);
                connections.Add(ServeAsync(client, certificate, trust, slots, stoppingToken));
            }
        }
        catch (OperationCanceledException)
        {
            await Task.WhenAll(connections);
        }
    }

    private async Task ServeAsync(TcpClient client, X509Certificate2 certificate, CertificateTrust trust, SemaphoreSlim slots, CancellationToken stopping)
    {
        var peer = client.Client.RemoteEndPoint?.ToString() ?? "";
        try
        {
            using (client)
            {
                await using var tls = new SslStream(client.GetStream());
                using var patience = CancellationTokenSource.CreateLinkedTokenSource(stopping);
                patience.CancelAfter(TimeSpan.FromSeconds(30));
                await tls.AuthenticateAsServerAsync(
                    new SslServerAuthenticationOptions
                    {
                        ServerCertificate = certificate,
                        ClientCertificateRequired = true,
                        EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
                        RemoteCertificateValidationCallback = (_, sent, _, _) => sent is not null && IsTrusted(trust, sent),
                    },
                    patience.Token);
                Connected(peer);
                await ReceiveAsync(tls, peer, stopping);
            }
        }
        catch (Exception e) when (e is AuthenticationException or IOException or FormatException or SocketException or OperationCanceledException)
        {
            Closed(peer, e.Message);
        }
        finally
        {
            slots.Release();
        }
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

    private static bool IsTrusted(CertificateTrust trust, X509Certificate sent)
    {
        using var copy = X509CertificateLoader.LoadCertificate(sent.GetRawCertData());
        return trust.Check(copy, CertificateTrust.ClientAuth) == CertificateVerdict.Valid;
    }

    [LoggerMessage(7020, LogLevel.Information, "Audit messages are taken by syslog over TLS on {EndPoint}.")]
    private partial void Listening(IPEndPoint endPoint);

    [LoggerMessage(7021, LogLevel.Information, "{Peer} sends audit messages.")]
    private partial void Connected(string peer);

    [LoggerMessage(7022, LogLevel.Warning, "The audit connection of {Peer} ended: {Why}")]
    private partial void Closed(string peer, string why);
}

/// <summary>Certificates of audit connections, from the files that the settings name.</summary>
internal static class TlsFiles
{
    /// <exception cref="InvalidOperationException">The setting is missing.</exception>
    public static string Required(string setting, string? file) =>
        file ?? throw new InvalidOperationException($"{setting} is missing: audit messages are exchanged with certificates at both ends only.");

    public static X509Certificate2 Certificate(string section, string? certificateFile, string? keyFile)
    {
        using var pem = X509Certificate2.CreateFromPemFile(Required($"{section}:certificateFile", certificateFile), Required($"{section}:keyFile", keyFile));

        // A key that is only in memory is not shown to the peer by every TLS library; one from PKCS #12 is.
        return X509CertificateLoader.LoadPkcs12(pem.Export(X509ContentType.Pkcs12), null);
    }
}
