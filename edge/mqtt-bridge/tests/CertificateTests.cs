using Yizhan.Platform.Certificates;

namespace Yizhan.MqttBridge.Tests;

public sealed class CertificateTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-mqtt-tls-").FullName;

    [Fact]
    public async Task A_device_needs_a_certificate_of_the_installation_and_its_own_name()
    {
        Tool.Need("mosquitto_pub");
        using var ca = EmbeddedCa.Open(In("ca"), TimeProvider.System);
        using var otherCa = EmbeddedCa.Open(In("other"), TimeProvider.System);
        ca.IssueServer("127.0.0.1").WriteTo(In("broker.crt"), In("broker.key"));
        ca.IssueDevice("pump-3").WriteTo(In("pump.crt"), In("pump.key"));
        otherCa.IssueDevice("pump-3").WriteTo(In("stranger.crt"), In("stranger.key"));
        await using var bridge = await Bridge.StartAsync(
        [
            .. Bridge.Pumps, "--mqtt-bridge:address=0.0.0.0", $"--mqtt-bridge:certificatePath={In("broker.crt")}", $"--mqtt-bridge:keyPath={In("broker.key")}",
            $"--mqtt-bridge:rootPath={ca.RootFile}",
        ]);

        // -V 5: it does not try again for ever when it is refused.
        async Task<int> PublishAsync(string name, params string[] certificate) => (await Tool.RunAsync(
            "mosquitto_pub",
            ["-V", "5", "-h", "127.0.0.1", "-p", $"{bridge.Port}", "-q", "1", "-i", name, "-t", "ward/7/pump/3", "-m", "1", "--cafile", ca.RootFile, .. certificate])).ExitCode;

        Assert.NotEqual(0, await PublishAsync("pump-3"));
        Assert.NotEqual(0, await PublishAsync("pump-3", "--cert", In("stranger.crt"), "--key", In("stranger.key")));
        Assert.NotEqual(0, await PublishAsync("pump-4", "--cert", In("pump.crt"), "--key", In("pump.key")));
        Assert.Empty(await bridge.EntriesAsync());
        Assert.Equal(0, await PublishAsync("pump-3", "--cert", In("pump.crt"), "--key", In("pump.key")));
        Assert.Single(await bridge.EntriesAsync());
    }

    [Fact]
    public void A_device_is_not_a_site()
    {
        using var ca = EmbeddedCa.Open(In("ca"), TimeProvider.System);
        using var certificate = ca.IssueDevice("pump-3").ToCertificate();

        Assert.Equal(CertificateVerdict.Valid, ca.Trust.Check(certificate, CertificateTrust.ClientAuth));
        Assert.Null(SitePrincipal.From(certificate));
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private string In(string name) => Path.Combine(_folder, name);
}
