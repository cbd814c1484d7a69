using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Drills;
using Yizhan.MqttBridge.Tests;
using Yizhan.Platform.Identity;
using Yizhan.Samples;

namespace Yizhan.Network.Tests;

/// <summary>A site and a centre as processes in two networks, with a cable between them to which real things happen.</summary>
public sealed class LineTests : IAsyncLifetime
{
    private const int PixelBytes = 8 * 1024 * 1024;
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-network-").FullName;
    private readonly LocalPorts _ports = LocalPorts.Free();
    private readonly int _mqttPort = LocalPorts.Free().Edge;
    private NetworkNamespace? _line;
    private HostProcess? _centre;
    private HostProcess? _edge;
    private string _reason = "";
    private HttpClient _edgeWeb = null!;
    private int _published;

    public static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => (_line, _reason) = await NetworkNamespace.TryCreateAsync(Cancel);

    public async ValueTask DisposeAsync()
    {
        _edgeWeb?.Dispose();
        await (_edge?.DisposeAsync() ?? default);
        await (_centre?.DisposeAsync() ?? default);
        await (_line?.DisposeAsync() ?? default);
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    [Trait("Clause", "D4.6")]
    public async Task A_cable_that_is_pulled_and_put_back_brings_everything_once()
    {
        NeedsTime();
        var line = await StartAsync();
        await PublishAsync(20);
        await NetworkNamespace.RunAsync(["ip", "link", "set", line.Device, "down"], Cancel);
        await PublishAsync(20);
        await NetworkNamespace.RunAsync(["ip", "link", "set", line.Device, "up"], Cancel);
        await PublishAsync(20);

        await DeliveredAsync("normal");
        Assert.Equal(60, await CountAtCentreAsync());
    }

    [Fact]
    public async Task A_line_that_loses_packets_brings_everything_once()
    {
        var line = await StartAsync();
        await line.LoseAsync(5, Cancel);
        await PublishAsync(60);
        await ScanAsync(rows: 512);

        await DeliveredAsync("normal");
        await DeliveredAsync("bulk");
        Assert.Equal(60, await CountAtCentreAsync());
    }

    [Theory]
    [InlineData("silence")]
    [InlineData("another address")]
    public async Task A_connection_that_is_half_open_is_noticed_and_the_blob_goes_on_where_it_was(string what)
    {
        NeedsTime(what == "silence");
        var line = await StartAsync();
        await line.ShapeAsync("20mbit", Cancel);
        var before = line.BytesSent;
        await ScanAsync(rows: 2048);

        // Most of it is there when the line falls silent: nothing is reset, no end hears that the other is gone.
        await UntilAsync(() => Task.FromResult(line.BytesSent - before > PixelBytes * 6 / 10));
        if (what == "silence")
        {
            await line.LoseAsync(100, Cancel);
            await UntilAsync(async () => (await SpoolAsync()).GetProperty("link").GetProperty("state").GetString() != "up");
            await line.LoseNoMoreAsync(Cancel);
        }
        else
        {
            await NetworkNamespace.RunAsync(["ip", "addr", "flush", "dev", line.Device], Cancel);
            await NetworkNamespace.RunAsync(["ip", "addr", "add", line.OtherAddress + "/24", "dev", line.Device], Cancel);
        }

        await DeliveredAsync("bulk");

        // From the start again it would have been 1.6 times the blob at least; what was under way may be sent twice.
        Assert.InRange(line.BytesSent - before, PixelBytes, PixelBytes * 15 / 10);
    }

    [Fact]
    public async Task At_64_kbit_an_urgent_event_overtakes_a_blob_and_the_link_stays_up()
    {
        NeedsTime();
        var line = await StartAsync("--station:stallSeconds=30");
        await line.ShapeAsync("64kbit", Cancel);
        var before = line.BytesSent;
        await ScanAsync(rows: 512);
        await UntilAsync(() => Task.FromResult(line.BytesSent - before > 20_000));
        using (var device = await Device.ConnectAsync(_mqttPort, "pump-3"))
        {
            Assert.True(await device.PublishAsync(1, "ward/7/alarm", "1"u8.ToArray()));
        }

        await DeliveredAsync("urgent");
        Assert.Equal(1, Lane(await SpoolAsync(), "bulk").GetProperty("status").GetProperty("entries").GetInt64());
        Assert.DoesNotContain("The link to the centre is down", await File.ReadAllTextAsync(Path.Combine(_folder, "edge.log"), Cancel), StringComparison.Ordinal);
    }

    private static void NeedsTime(bool except = false) =>
        Assert.SkipUnless(except || Environment.GetEnvironmentVariable("YIZHAN_LONG") is "1", "It takes half a minute; ./check long runs it.");

    /// <summary>Starts both nodes, the centre at the far end of the cable.</summary>
    private async Task<NetworkNamespace> StartAsync(params string[] edge)
    {
        Assert.SkipWhen(_line is null, $"A network namespace needs root and iproute2: {_reason}");
        Assert.SkipUnless(File.Exists("/usr/sbin/nft"), "nftables is not installed; ./check installs it.");
        LocalSite.Prepare(_folder, LocalSite.DcmtkPeers, _ports);
        _centre = await HostProcess.StartAsync(
            ["centre", "--config", Path.Combine(_folder, "centre.yaml"), $"--fleet:linkAddress={_line.FarAddress}", $"--fleet:linkHosts:0={_line.FarAddress}"],
            _ports.CentreWeb, Path.Combine(_folder, "centre.log"), _line, Cancel);
        _edge = await HostProcess.StartAsync(
            [
                "edge", "--config", Path.Combine(_folder, "edge.yaml"), $"--station:centreUrl=https://{_line.FarAddress}:{_ports.CentreLink}",
                "--station:stallSeconds=5", "--station:probeMs=200", $"--mqtt-bridge:port={_mqttPort}",
                "--mqtt-bridge:topics:0:filter=ward/+/alarm", "--mqtt-bridge:topics:0:eventType=test.alarm.v1", "--mqtt-bridge:topics:0:lane=urgent",
                "--mqtt-bridge:topics:1:filter=ward/#", "--mqtt-bridge:topics:1:eventType=test.pump.v1", "--mqtt-bridge:topics:1:lane=normal", .. edge,
            ],
            _ports.EdgeWeb, Path.Combine(_folder, "edge.log"), Cancel);
        _edgeWeb = OperatorTokenHandler.Client(_ports.EdgeWeb, Path.Combine(_folder, LocalSite.SiteId));
        return _line;
    }

    private async Task PublishAsync(int count)
    {
        using var device = await Device.ConnectAsync(_mqttPort, "pump-3");
        for (var i = 0; i < count; i++)
        {
            Assert.True(await device.PublishAsync((ushort)++_published, "ward/7/pump", Encoding.UTF8.GetBytes($"{_published}")));
        }
    }

    /// <summary>Sends a grayscale image of so many rows and 2048 columns of 16 bits with noise as pixels to the site.</summary>
    private async Task ScanAsync(int rows)
    {
        var pixels = new byte[rows * 2048 * 2];
        new Random(rows).NextBytes(pixels);
        var dataset = new DicomDataset()
            .Set(DicomTags.SOPClassUID, "1.2.840.10008.5.1.4.1.1.7")
            .Set(DicomTags.SOPInstanceUID, $"2.25.9{rows}")
            .Set(DicomTags.Modality, "OT")
            .Set(DicomTags.PatientID, "NETWORK")
            .Set(DicomTags.StudyInstanceUID, "2.25.91")
            .Set(DicomTags.SeriesInstanceUID, "2.25.911")
            .Set(DicomTags.SamplesPerPixel, 1)
            .Set(DicomTags.PhotometricInterpretation, "MONOCHROME2")
            .Set(DicomTags.Rows, rows)
            .Set(DicomTags.Columns, 2048)
            .Set(DicomTags.BitsAllocated, 16)
            .Set(DicomTags.BitsStored, 16)
            .Set(DicomTags.HighBit, 15)
            .Set(DicomTags.PixelRepresentation, 0L)
            .SetBytes(DicomTags.PixelData, pixels, DicomVr.OW);
        var path = Path.Combine(_folder, "image.dcm");
        await File.WriteAllBytesAsync(path, CtStudy.ToFile(dataset), Cancel);
        var ledger = new Ledger();
        await new Scanner(_ports.Dicom, ledger).SendAllAsync([InstanceFile.Read(path, "image")], Cancel);
        Assert.Single(ledger.Acknowledged);
    }

    private async Task<JsonElement> SpoolAsync() => await _edgeWeb.GetFromJsonAsync<JsonElement>("/station/spool", Cancel);

    private static JsonElement Lane(JsonElement spool, string lane) => spool.GetProperty("lanes").EnumerateArray()
        .Single(l => l.GetProperty("status").GetProperty("lane").GetString() == lane);

    private Task DeliveredAsync(string lane) => UntilAsync(async () =>
        Lane(await SpoolAsync(), lane) is var view && view.GetProperty("delivered").GetInt64() > 0 && view.GetProperty("status").GetProperty("entries").GetInt64() == 0);

    private static async Task UntilAsync(Func<Task<bool>> condition)
    {
        while (!await condition())
        {
            await Task.Delay(20, Cancel);
        }
    }

    private async Task<int> CountAtCentreAsync()
    {
        using var http = _line!.HttpClient(_ports.CentreWeb, Path.Combine(_folder, "centre"));
        var page = await http.GetFromJsonAsync("/fleet/events?limit=1000", ContractsJson.Default.IReadOnlyListLogEvent, Cancel) ?? [];
        return page.Count(e => e.Type == "test.pump.v1");
    }
}
