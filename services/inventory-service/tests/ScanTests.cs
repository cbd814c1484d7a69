using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Contracts;
using Yizhan.Inventory.Ledger;
using Yizhan.Inventory.Scan;
using static Yizhan.Inventory.Tests.Node;

namespace Yizhan.Inventory.Tests;

/// <summary>What scanners type, and what Debian's printer and reader of symbols make of it.</summary>
public sealed class ScanTests : IDisposable
{
    private static readonly DateOnly Today = new(2026, 3, 1);
    private readonly Folder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("MA.156.M0.123456.0ABC1235.LA77.SN9.M20260131.E270630", "ma", "MA.156.M0.123456.0ABC1235", "A77", "N9", "2027-06-30", "2026-01-31")]
    [InlineData("MA.156.M0.123456.0ABC1235\r\n", "ma", "MA.156.M0.123456.0ABC1235", "", "", "", "")]
    [InlineData("C01010101010101010101010101", "nhsa", "C01010101010101010101010101", "", "", "", "")]
    [InlineData("81234567890123456789", "ahm", "81234567890123456789", "", "", "", "")]
    [InlineData("(01)06901234567892(11)141231(17)150707(10)A213B1(21)1234", "gs1", "06901234567892", "A213B1", "1234", "2015-07-07", "2014-12-31")]
    public void A_label_of_each_issuer_is_read(string scan, string scheme, string identifier, string lot, string serial, string expiry, string produced)
    {
        var label = Udi.Read(scan, Today);
        Assert.Equal((scheme, identifier, lot, serial, expiry, produced), (label.Scheme, label.DeviceIdentifier, label.Lot, label.Serial, label.Expiry, label.Produced));
    }

    [Theory]
    [InlineData("")]
    [InlineData("hello")]
    [InlineData("MA.156.M0.12345.0ABC1235")]
    [InlineData("MA.156.M0.123456.0ABC123.5")]
    [InlineData("MA.156.M0.123456.0ABC1235.L")]
    [InlineData("MA.156.M0.123456.0ABC1235.LA.LB")]
    [InlineData("MA.156.M0.123456.0ABC1235.X1")]
    [InlineData("MA.156.M0.123456.0ABC1235.E270631")]
    [InlineData("C0101010101010101010101010")]
    [InlineData("]C100373400306809981733")]
    [InlineData("0107032069804987")]
    public void What_is_no_item_is_refused_with_a_reason(string scan) => Assert.NotEmpty(Assert.Throws<FormatException>(() => Udi.Read(scan, Today)).Message);

    [Fact]
    public void Every_GS1_vector_is_read_or_refused_as_it_says()
    {
        using var vectors = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(EquipmentTests.Corpus("gs1"), "vectors.json")));
        foreach (var vector in vectors.RootElement.EnumerateArray().Where(v => v.GetProperty("ok").ValueKind != JsonValueKind.Null && !v.TryGetProperty("sscc", out _)))
        {
            var raw = vector.GetProperty("raw").GetString()!;
            if (!vector.GetProperty("ok").GetBoolean())
            {
                Assert.Throws<FormatException>(() => Udi.Read(raw, Today));
                continue;
            }

            var label = Udi.Read(raw, Today);
            Assert.Equal(vector.GetProperty("gtin").GetString(), label.DeviceIdentifier);
            Assert.Equal(vector.GetProperty("lot").GetString(), label.Lot);
            Assert.Equal(vector.TryGetProperty("expiry", out var expiry) ? expiry.GetString() : "", label.Expiry);
        }
    }

    [Fact]
    public async Task A_printed_code_comes_back_from_zbar_and_is_refused_when_its_separator_is_dropped()
    {
        Peer.Need("zint", "zint");
        Peer.Need("zbarimg", "zbar-tools");
        var label = Udi.Read(await PrintAndScanAsync("[01]06901234567892[17]271231[10]KXB"), Today);
        Assert.Equal(("gtin:06901234567892", "KXB", "2027-12-31"), (label.Item, label.Lot, label.Expiry));

        // The lot is followed by a serial number: with the separator that is clear, and without it nobody can tell where the lot ends.
        var scanned = await PrintAndScanAsync("[01]06901234567892[10]A213B1[21]1234");
        label = Udi.Read(scanned, Today);
        Assert.Equal(("A213B1", "1234"), (label.Lot, label.Serial));
        var dropped = scanned.Replace("\x1D", "", StringComparison.Ordinal);
        Assert.NotEqual(scanned, dropped);
        Assert.Contains("FNC1", Assert.Throws<FormatException>(() => Udi.Read(dropped, Today)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_scan_finds_the_sites_item_and_counts_once_when_it_is_sent_twice()
    {
        await using var node = await StartAsync(_folder.Path, new FakeTimeProvider(new DateTimeOffset(2026, 3, 1, 8, 0, 0, TimeSpan.Zero)));
        await node.Ledger.DefineAsync(ItemOf("stent") with { Codes = ["gtin:06901234567892"] }, Cancel);
        const string scan = "]C1010690123456789217271231" + "10A213B1\x1D" + "21SN1";
        var read = await PostAsync(new ScanRequest(scan));
        Assert.Equal(HttpStatusCode.OK, read.StatusCode);
        Assert.Equal("stent", (await read.Content.ReadFromJsonAsync(ContractsJson.Default.ScanResult, Cancel))!.Item);
        Assert.Equal(HttpStatusCode.BadRequest, (await PostAsync(new ScanRequest(scan, "receive"))).StatusCode);
        Assert.Equal(HttpStatusCode.Created, (await PostAsync(new ScanRequest(scan, "receive", 5, BatchId: "s1"))).StatusCode);
        Assert.Equal(HttpStatusCode.Created, (await PostAsync(new ScanRequest(scan, "issue", 1, BatchId: "s2", PatientId: "p1", StudyInstanceUid: "1.2"))).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await PostAsync(new ScanRequest(scan, "issue", 1, BatchId: "s2", PatientId: "p1", StudyInstanceUid: "1.2"))).StatusCode);
        Assert.Equal(HttpStatusCode.Conflict, (await PostAsync(new ScanRequest(scan, "issue", 9, BatchId: "s3"))).StatusCode);
        Assert.Equal(4, Assert.Single(node.Queries.Stock(new StockFilter(Site, "stent", "A213B1"), 9)).Quantity);
        Assert.Equal("p1", Assert.Single(node.Queries.Recall("stent", "A213B1", 9).Uses).PatientId);

        Task<HttpResponseMessage> PostAsync(ScanRequest request) => node.Http.PostAsJsonAsync("scans", request, ContractsJson.Default.ScanRequest, Cancel);
    }

    private async Task<string> PrintAndScanAsync(string data)
    {
        var image = _folder["code.png"];
        await Peer.RunAsync("/usr/bin/zint", ["--barcode=GS1_128", "--scale=3", "--height=60", "-o", image, "-d", data], Cancel);
        return (await Peer.RunAsync("/usr/bin/zbarimg", ["--quiet", "--raw", image], Cancel)).TrimEnd('\n');
    }
}
