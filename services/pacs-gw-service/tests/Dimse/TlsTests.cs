using System.Net;
using System.Net.Http.Json;
using System.Net.Sockets;
using Yizhan.Contracts;

namespace Yizhan.PacsGw.Tests.Dimse;

/// <summary>DICOM over TLS (PS3.15 §B.12) with dcmtk's programs on both sides: who has no certificate, another root's, or another peer's stays outside.</summary>
[Trait("Clause", "S2")]
public sealed class TlsTests : IDisposable
{
    private readonly TestAuthority _authority = new();

    public void Dispose() => _authority.Dispose();

    [Fact]
    public async Task A_peer_with_its_certificate_echoes_and_stores()
    {
        var ct = _authority.Issue("ct");
        await using var gateway = await StartAsync($"--pacs-gw:peers:1:certificateSha256={ct.Sha256}", "--pacs-gw:peers:1:tls=true");
        var (exit, output) = await EchoAsync(gateway, Shown(ct, _authority));
        Assert.True(exit == 0, output);
        var file = Path.GetTempFileName();
        try
        {
            await File.WriteAllBytesAsync(file, new TestInstance("1.1", "1.1.1", "1.1.1.1").ToFile(), Gateway.Cancel);
            (exit, output) = await Outside.DcmtkAsync(
                "storescu", ["-aet", "CT-1", "-aec", "YIZHAN", .. Shown(ct, _authority), "127.0.0.1", $"{gateway.TlsPort}", file]);
            Assert.True(exit == 0, output);
        }
        finally
        {
            File.Delete(file);
        }

        await gateway.IndexedAsync();
        Assert.Single(await gateway.QueryAsync("studies?StudyInstanceUID=1.1"));
    }

    [Fact]
    public async Task A_peer_without_a_certificate_or_with_one_of_another_root_is_refused_and_others_are_served()
    {
        using var stranger = new TestAuthority("Another root");
        await using var gateway = await StartAsync();
        var (exit, output) = await EchoAsync(gateway, ["+tla", "+cf", _authority.RootFile]);
        Assert.True(exit != 0, output);
        (exit, output) = await EchoAsync(gateway, Shown(stranger.Issue("ct"), _authority));
        Assert.True(exit != 0, output);
        (exit, output) = await EchoAsync(gateway, Shown(_authority.Issue("ct"), _authority));
        Assert.True(exit == 0, output);
    }

    [Fact]
    public async Task A_peer_with_the_certificate_of_another_peer_or_without_tls_is_rejected_by_its_title()
    {
        await using var gateway = await StartAsync($"--pacs-gw:peers:1:certificateSha256={_authority.Issue("ct").Sha256}", "--pacs-gw:peers:1:tls=true");
        var (exit, output) = await EchoAsync(gateway, Shown(_authority.Issue("mr"), _authority));
        Assert.NotEqual(0, exit);
        Assert.Contains("Calling AE Title Not Recognized", output, StringComparison.Ordinal);
        (exit, output) = await Outside.DcmtkAsync("echoscu", "-aet", "CT-1", "-aec", "YIZHAN", "127.0.0.1", $"{gateway.DicomPort}");
        Assert.NotEqual(0, exit);
        Assert.Contains("Calling AE Title Not Recognized", output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(true, "-tls1_3")]
    [InlineData(true, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256")]
    [InlineData(false, "-tls1_1", "-cipher", "ALL@SECLEVEL=0")]
    [InlineData(false, "-tls1", "-cipher", "ALL@SECLEVEL=0")]
    [InlineData(false, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA")]
    public async Task Only_the_versions_and_suites_of_BCP_195_are_agreed_on(bool agreed, params string[] offer)
    {
        var ct = _authority.Issue("ct");
        await using var gateway = await StartAsync();
        var (exit, output) = await Outside.DcmtkAsync(
            "openssl",
            [
                "s_client", "-connect", $"127.0.0.1:{gateway.TlsPort}", "-cert", ct.File, "-key", ct.KeyFile, "-CAfile", _authority.RootFile, "-verify_return_error", "-brief",
                .. offer,
            ]);
        Assert.True(agreed == (exit == 0), output);
        Assert.Equal(agreed, output.Contains("CONNECTION ESTABLISHED", StringComparison.Ordinal));
        Assert.Equal(!agreed, output.Contains("alert", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_connection_that_never_begins_the_handshake_is_closed()
    {
        await using var gateway = await StartAsync("--pacs-gw:artimSeconds=1");
        using var silent = new TcpClient();
        await silent.ConnectAsync(IPAddress.Loopback, gateway.TlsPort, Gateway.Cancel);
        Assert.Equal(0, await silent.GetStream().ReadAsync(new byte[1], Gateway.Cancel));
    }

    [Theory]
    [InlineData("127.0.0.1", false, null)]
    [InlineData("127.0.0.2", false, "refused: WrongName")]
    [InlineData("127.0.0.1", true, "certificateSha256")]
    public async Task We_store_to_a_peer_over_tls_if_its_certificate_is_for_it_and_the_configured_one(string named, bool pinAnother, string? refused)
    {
        var (port, archive) = (FreePorts.Next(), _authority.Issue("archive", named));
        var folder = Directory.CreateTempSubdirectory("yizhan-storescp-");
        using var sink = Outside.Start("storescp", ["-od", folder.FullName, .. Shown(archive, _authority), $"{port}"]);
        try
        {
            await Outside.ListensAsync(port);
            await using var gateway = await StartAsync(
                "--pacs-gw:peers:2:aeTitle=ARCHIVE", "--pacs-gw:peers:2:host=127.0.0.1", $"--pacs-gw:peers:2:port={port}", "--pacs-gw:peers:2:tls=true",
                $"--pacs-gw:peers:2:certificateSha256={(pinAnother ? _authority.Issue("other") : archive).Sha256}");
            await gateway.SendAsync(new TestInstance("1.1", "1.1.1", "1.1.1.1"));
            await gateway.IndexedAsync();
            using var response = await gateway.Http.PostAsJsonAsync(new Uri("peers/ARCHIVE/store", UriKind.Relative), new PeerStudy("1.1"), Gateway.Cancel);
            var text = await response.Content.ReadAsStringAsync(Gateway.Cancel);
            Assert.True((refused is null ? HttpStatusCode.OK : HttpStatusCode.BadGateway) == response.StatusCode, text);
            Assert.Contains(refused ?? "\"completed\":1", text, StringComparison.Ordinal);
            Assert.Equal(refused is null ? 1 : 0, folder.GetFiles().Length);
        }
        finally
        {
            sink.Kill();
            await sink.WaitForExitAsync(CancellationToken.None);
            folder.Delete(recursive: true);
        }
    }

    private static string[] Shown(TestCertificate own, TestAuthority trusted) => ["+tls", own.KeyFile, own.File, "+cf", trusted.RootFile];

    private static Task<(int ExitCode, string Output)> EchoAsync(Gateway gateway, string[] tls) =>
        Outside.DcmtkAsync("echoscu", ["-aet", "CT-1", "-aec", "YIZHAN", .. tls, "127.0.0.1", $"{gateway.TlsPort}"]);

    private Task<Gateway> StartAsync(params string[] settings)
    {
        var own = _authority.Issue("yizhan");
        return Gateway.StartAsync(
            ["--pacs-gw:dicomTlsPort=0", $"--pacs-gw:tlsCertificatePath={own.File}", $"--pacs-gw:tlsKeyPath={own.KeyFile}", $"--pacs-gw:tlsRootPath={_authority.RootFile}", .. settings]);
    }
}
