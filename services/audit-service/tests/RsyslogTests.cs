using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Yizhan.Audit.Atna;
using Yizhan.Audit.Index;

namespace Yizhan.Audit.Tests;

/// <summary>Debian's rsyslog with GnuTLS at both ends: it sends to us and we send to it, each with a certificate.</summary>
public sealed class RsyslogTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Dispose();

    [Fact]
    [Trait("Clause", "S7")]
    public async Task Audit_messages_come_from_rsyslog_and_go_on_to_rsyslog_over_mutual_TLS()
    {
        if (!File.Exists("/usr/sbin/rsyslogd"))
        {
            Assert.Skip("rsyslog is not installed.");
        }

        var (plain, secure) = (FreePorts.Next(), FreePorts.Next());
        await using var setup = await AtnaNode.StartAsync(
            _folder, Cancel, "--audit:forward:host=127.0.0.1", string.Create(CultureInfo.InvariantCulture, $"--audit:forward:port={secure}"), "--audit:forward:maxPauseMs=100",
            $"--audit:forward:certificateFile={_folder["client.crt"]}", $"--audit:forward:keyFile={_folder["client.key"]}", $"--audit:forward:rootFile={_folder["ca/root.crt"]}");
        WriteConfiguration(plain, secure, setup.Node.Service<AtnaListener>().EndPoint!.Port, setup.Ca.RootFile);
        using var rsyslog = Start();
        try
        {
            using var client = await ConnectAsync(plain, rsyslog);
            for (var i = 0; i < 20; i++)
            {
                await client.GetStream().WriteAsync(AtnaTests.Message(i, i == 7 ? new string('x', 70_000) : ""), Cancel);
            }

            await Wait.UntilAsync(() => setup.Node.Consumer.Log?.Find(new AuditQuery([(Field.Agent, "dr-li")], null, null, 100)).Count == 20, Cancel);
            await Wait.UntilAsync(() => Kept().Length >= 20, Cancel);
            for (var i = 0; i < 20; i++)
            {
                Assert.Contains(Kept(), line => line.Contains($"ParticipantObjectID=\"p{i}\"", StringComparison.Ordinal) && line.Contains("IHE+RFC-3881", StringComparison.Ordinal));
            }

            Assert.Contains(Kept(), line => line.Length > 70_000);
        }
        finally
        {
            rsyslog.Kill();
            await rsyslog.WaitForExitAsync(CancellationToken.None);
        }
    }

    /// <summary>Lines that are whole: it writes as its buffer gets full, which may be in the middle of one.</summary>
    private string[] Kept() => File.Exists(_folder["kept.log"]) ? File.ReadAllText(_folder["kept.log"]).Split('\n')[..^1] : [];

    private void WriteConfiguration(int plain, int secure, int ours, string root) => File.WriteAllText(_folder["rsyslog.conf"], string.Create(CultureInfo.InvariantCulture, $$"""
        global(workDirectory="{{_folder.Path}}" maxMessageSize="300k" parser.escapeControlCharactersOnReceive="off"
          defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="{{root}}" defaultNetstreamDriverCertFile="{{_folder["server.crt"]}}" defaultNetstreamDriverKeyFile="{{_folder["server.key"]}}")
        module(load="imptcp")
        module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
        template(name="raw" type="string" string="%rawmsg%\n")
        ruleset(name="relay") {
          action(type="omfwd" target="127.0.0.1" port="{{ours}}" protocol="tcp" TCP_Framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format" action.resumeRetryCount="-1" action.resumeInterval="1"
            streamDriver="gtls" streamDriverMode="1" streamDriverAuthMode="x509/certvalid" streamDriver.CAFile="{{root}}" streamDriver.CertFile="{{_folder["client.crt"]}}" streamDriver.KeyFile="{{_folder["client.key"]}}")
        }
        ruleset(name="keep") { action(type="omfile" file="{{_folder["kept.log"]}}" template="raw") }
        input(type="imptcp" port="{{plain}}" address="127.0.0.1" ruleset="relay")
        input(type="imtcp" port="{{secure}}" address="127.0.0.1" ruleset="keep")

        """));

    private Process Start()
    {
        var start = new ProcessStartInfo("/usr/sbin/rsyslogd") { RedirectStandardError = true, RedirectStandardOutput = true };
        foreach (var argument in new[] { "-n", "-f", _folder["rsyslog.conf"], "-i", _folder["rsyslog.pid"] })
        {
            start.ArgumentList.Add(argument);
        }

        return Process.Start(start)!;
    }

    private static async Task<TcpClient> ConnectAsync(int port, Process rsyslog)
    {
        var client = new TcpClient();
        await Wait.UntilAsync(
            async () =>
            {
                try
                {
                    Assert.False(rsyslog.HasExited, rsyslog.HasExited ? await rsyslog.StandardError.ReadToEndAsync(Cancel) : "");
                    await client.ConnectAsync(IPAddress.Loopback, port, Cancel);
                    return true;
                }
                catch (SocketException)
                {
                    client.Dispose();
                    client = new TcpClient();
                    return false;
                }
            },
            Cancel);
        return client;
    }
}
