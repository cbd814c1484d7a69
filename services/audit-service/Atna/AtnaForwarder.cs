using System.Globalization;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Options;
using Yizhan.Audit.Tree;
using Yizhan.Platform;
using Yizhan.Platform.Certificates;
using Yizhan.Platform.Flows;
using Yizhan.Syslog;

namespace Yizhan.Audit.Atna;

/// <summary>
/// Sends every entry of the log on to another audit repository, in order, as ATNA by syslog over TLS. The cursor is durable and moves after
/// a flush; because the protocol acknowledges nothing, a broken connection is followed by the last messages again.
/// </summary>
internal sealed partial class AtnaForwarder(
    AuditConsumer consumer, IOptions<NodeOptions> node, IOptions<AuditOptions> options, TimeProvider clock, ILogger<AtnaForwarder> logger) : BackgroundService
{
    private const string CursorFile = "forward.cursor";
    private const int Batch = 256;
    private static readonly TimeSpan Idle = TimeSpan.FromMilliseconds(500);
    private readonly ForwardOptions _options = options.Value.Forward;
    private readonly ILogger _logger = logger;

    /// <summary>Entries that were sent.</summary>
    public long Cursor { get; private set; }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (_options.Host is not { } host)
        {
            return;
        }

        var folder = new DurableFolder(Path.GetDirectoryName(node.Value.PathOf("audit", CursorFile))!);
        var file = Path.Combine(folder.Root, CursorFile);
        Cursor = File.Exists(file) && long.TryParse(await File.ReadAllTextAsync(file, stoppingToken), NumberStyles.None, CultureInfo.InvariantCulture, out var saved) ? saved : 0;
        using var certificate = TlsFiles.Certificate("audit:forward", _options.CertificateFile, _options.KeyFile);
        var trust = CertificateTrust.FromFile(TlsFiles.Required("audit:forward:rootFile", _options.RootFile), clock);
        var pause = 10;
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                using var client = new TcpClient();
                await client.ConnectAsync(host, _options.Port, stoppingToken);
                await using var tls = new SslStream(client.GetStream());
                await tls.AuthenticateAsClientAsync(
                    new SslClientAuthenticationOptions
                    {
                        TargetHost = host,
                        ClientCertificates = new X509CertificateCollection { certificate },
                        EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
                        RemoteCertificateValidationCallback = (_, sent, _, errors) => trust.CheckServer(sent, errors) == CertificateVerdict.Valid,
                    },
                    stoppingToken);
                pause = 10;
                await SendAsync(tls, folder, Math.Max(0, Cursor - _options.ResendWindow), stoppingToken);
            }
            catch (Exception e) when (e is IOException or SocketException or AuthenticationException or InvalidDataException)
            {
                Broken(host, Cursor, e.Message);
            }
            catch (OperationCanceledException)
            {
                return;
            }

            pause = Math.Min(pause * 2, _options.MaxPauseMs);
            await Task.Delay(TimeSpan.FromMilliseconds(pause), clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task SendAsync(SslStream tls, DurableFolder folder, long from, CancellationToken cancellationToken)
    {
        while (true)
        {
            var size = consumer.Log?.Current.Checkpoint.Size ?? 0;
            if (consumer.Log is not { } log || from >= size)
            {
                await Task.Delay(Idle, clock, cancellationToken);
                continue;
            }

            var until = Math.Min(size, from + Batch);
            foreach (var entry in log.Entries(from, until))
            {
                // What was erased meanwhile is not sent; nobody here knows what it said.
                if (entry.Facts is { } facts)
                {
                    await tls.WriteAsync(SyslogFrames.Frame(MessageOf(entry, facts).ToBytes()), cancellationToken);
                }
            }

            await tls.FlushAsync(cancellationToken);
            from = until;
            if (from > Cursor)
            {
                Cursor = from;
                folder.Replace(CursorFile, System.Text.Encoding.ASCII.GetBytes(Cursor.ToString(CultureInfo.InvariantCulture)));
                folder.SyncNames();
            }
        }
    }

    private static SyslogMessage MessageOf(AuditEntry entry, AuditFacts facts)
    {
        var site = entry.Leaf.Source.Site;
        var text = entry.Payload!.ToMessage() is { Format: AuditMessage.Atna } message ? message.Original : AtnaMessage.Write(facts, site);
        return new SyslogMessage(
            SyslogMessage.AuditPriority,
            DateTimeOffset.FromUnixTimeMilliseconds(facts.RecordedMs).ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture),
            site,
            "yizhan",
            entry.Index.ToString(CultureInfo.InvariantCulture),
            SyslogMessage.AuditMsgId,
            text.Replace("\r", "", StringComparison.Ordinal).Replace('\n', ' '));
    }

    [LoggerMessage(7030, LogLevel.Warning, "The audit repository {Host} cannot be reached after entry {Cursor}; it is tried again: {Why}")]
    private partial void Broken(string host, long cursor, string why);
}
