using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Yizhan.Audit.Fhir;
using Yizhan.Transparency;

namespace Yizhan.Audit.Tests;

public sealed class FhirTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Dispose();

    [Fact]
    [Trait("Clause", "S7")]
    public async Task Every_given_AuditEvent_is_taken_durably_found_with_its_proof_and_given_back_as_it_came()
    {
        var files = Directory.GetFiles(Path.Combine(Corpus.Folder("balp"), "example"), "AuditEvent-*.json")
            .Concat(Directory.GetFiles(Corpus.Folder("fhir-r4"), "AuditEvent-*.json")).ToArray();
        Assert.True(files.Length >= 28, $"{files.Length} files");
        await using var node = await Node.StartAsync(_folder.Path, Cancel);
        foreach (var file in files)
        {
            var created = await PostAsync(node, "/audit/fhir/AuditEvent", await File.ReadAllTextAsync(file, Cancel));
            Assert.True(created.StatusCode == HttpStatusCode.Created, $"{file}: {await created.Content.ReadAsStringAsync(Cancel)}");
        }

        await Wait.UntilAsync(() => node.Consumer.Log?.Current.Checkpoint.Size == files.Length, Cancel);
        var bundle = await SearchAsync(node, "?_count=1000");
        Assert.Equal(files.Length, bundle.GetProperty("entry").GetArrayLength());
        Assert.Equal(
            files.Select(f => Canonical(File.ReadAllText(f))).Order(StringComparer.Ordinal),
            bundle.GetProperty("entry").EnumerateArray().Select(e => Canonical(e.GetProperty("resource").GetRawText())).Order(StringComparer.Ordinal));
        foreach (var entry in bundle.GetProperty("entry").EnumerateArray())
        {
            AssertProven(entry, node.Consumer.Log!.Current.Checkpoint);
        }

        var patients = await SearchAsync(node, "?patient=Patient/ex-patient&_count=1000");
        Assert.True(patients.GetProperty("entry").GetArrayLength() >= 5);
        Assert.All(patients.GetProperty("entry").EnumerateArray(), e => Assert.Contains("ex-patient", e.GetRawText(), StringComparison.Ordinal));
    }

    [Fact]
    public async Task Each_search_parameter_finds_what_it_says_and_pages_follow_each_other()
    {
        await using var node = await Node.StartAsync(_folder.Path, Cancel);
        var events = Enumerable.Range(0, 12).Select(Event).ToArray();
        var answer = await PostAsync(node, "/audit/fhir", Bundle(events));
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        Assert.Equal(12, (await ReadAsync(answer)).GetProperty("entry").GetArrayLength());
        await Wait.UntilAsync(() => node.Consumer.Log?.Current.Checkpoint.Size == 12, Cancel);
        foreach (var (query, count) in new[]
        {
            ("patient=p1", 4), ("patient.identifier=urn:x|p1", 4), ("agent=user-0", 6), ("agent.identifier=user-0", 6), ("user=user-0", 6), ("address=192.0.2.3", 1), ("action=R", 12),
            ("type=http://dicom.nema.org/resources/ontology/DCM|110103", 12), ("type=110104", 0), ("subtype=read", 12), ("outcome=0", 12), ("source=pacs", 12), ("site=ward-3", 12), ("study=1.2.7", 1),
            ("entity=study/1.2.7", 1), ("date=2026-03-05", 1), ("date=ge2026-03-05&date=lt2026-03-08", 3), ("date=gt2026-03-10", 2), ("date=2026-03", 12), ("date=le2026-03-02T00:00:00Z", 2), ("patient=p1&agent=user-1", 2),
        })
        {
            Assert.Equal((query, count), (query, (await SearchAsync(node, "?" + query)).GetProperty("entry").GetArrayLength()));
        }

        var (ids, next) = (new List<string>(), "?_count=5&agent=user-0&agent=user-0");
        for (var page = 0; next is not null && page < 5; page++)
        {
            var bundle = await SearchAsync(node, next);
            ids.AddRange(bundle.GetProperty("entry").EnumerateArray().Select(e => e.GetProperty("resource").GetProperty("id").GetString()!));
            next = bundle.GetProperty("link").EnumerateArray().Where(l => l.GetProperty("relation").GetString() == "next").Select(l => l.GetProperty("url").GetString()!.Split("AuditEvent")[1]).SingleOrDefault();
        }

        Assert.Equal(["e10", "e8", "e6", "e4", "e2", "e0"], ids);
        foreach (var wrong in new[] { "colour=red", "date=yesterday", "_count=0", "_count=1001", "patient=", "_sort=agent", "_cursor=x" })
        {
            var refused = await node.Http.GetAsync($"/audit/fhir/AuditEvent?{wrong}", Cancel);
            Assert.Equal((wrong, HttpStatusCode.BadRequest), (wrong, refused.StatusCode));
            Assert.Contains("ccepted", (await ReadAsync(refused)).GetProperty("issue")[0].GetProperty("diagnostics").GetString(), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task A_retry_is_one_event_and_a_platform_record_reads_as_an_AuditEvent()
    {
        await using var node = await Node.StartAsync(_folder.Path, Cancel);
        for (var i = 0; i < 3; i++)
        {
            Assert.Equal(HttpStatusCode.Created, (await PostAsync(node, "/audit/fhir/AuditEvent", Event(1))).StatusCode);
        }

        await node.Events.AppendAsync([Node.EntryOf(Node.Record(3) with { Patient = "p9" }, "r1")], Cancel);
        await Wait.UntilAsync(() => node.Consumer.Log?.Current.Checkpoint.Size == 2, Cancel);
        var found = (await SearchAsync(node, "?patient=p9")).GetProperty("entry")[0].GetProperty("resource");
        var facts = AuditEventReader.Read(found);
        Assert.Equal(("110103", "R", 1_700_000_000_003, "pacs-gw@s1"), (facts.Type, facts.Action, facts.RecordedMs, facts.Source));
        Assert.Equal(["p9"], facts.Patients);
        Assert.Contains("study/1.2.3", facts.Entities);
    }

    [Theory]
    [InlineData("{", "not JSON")]
    [InlineData("[]", "resourceType is not AuditEvent")]
    [InlineData("null", "resourceType is not AuditEvent")]
    [InlineData("""{"resourceType":"Patient"}""", "resourceType is not AuditEvent")]
    [InlineData("""{"resourceType":"AuditEvent"}""", "type.code is missing")]
    [InlineData("""{"resourceType":"AuditEvent","type":{"code":"x"},"recorded":"2026","agent":[{}],"source":{"observer":{"display":"a"}}}""", "recorded is '2026'")]
    [InlineData("""{"resourceType":"AuditEvent","type":{"code":"x"},"recorded":"2026-01-01T00:00:00Z","source":{"observer":{"display":"a"}}}""", "agent is missing")]
    [InlineData("""{"resourceType":"AuditEvent","type":{"code":"x"},"recorded":"2026-01-01T00:00:00Z","agent":[{}],"source":{}}""", "source.observer is missing")]
    [InlineData("""{"resourceType":"AuditEvent","type":{"code":"x"},"action":"Z","recorded":"2026-01-01T00:00:00Z","agent":[{}],"source":{"observer":{"display":"a"}}}""", "action is 'Z'")]
    [InlineData("""{"resourceType":"AuditEvent","type":{"code":"x"},"outcome":"1","recorded":"2026-01-01T00:00:00Z","agent":[{}],"source":{"observer":{"display":"a"}}}""", "outcome is '1'")]
    public async Task A_wrong_AuditEvent_is_refused_with_an_OperationOutcome(string body, string expected)
    {
        await using var node = await Node.StartAsync(_folder.Path, Cancel);
        var answer = await PostAsync(node, "/audit/fhir/AuditEvent", body);
        Assert.Equal(HttpStatusCode.BadRequest, answer.StatusCode);
        Assert.Contains(expected, (await ReadAsync(answer)).GetProperty("issue")[0].GetProperty("diagnostics").GetString(), StringComparison.Ordinal);
        Assert.Empty(await node.Events.ReadAsync(0, 10, Cancel));
    }

    [Fact]
    public async Task What_is_too_large_or_too_deep_is_refused_before_it_is_kept()
    {
        await using var node = await Node.StartAsync(_folder.Path, Cancel);
        var huge = Event(1).Replace("\"read\"", $"\"{new string('x', 10 * 1024 * 1024)}\"", StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, (await PostAsync(node, "/audit/fhir/AuditEvent", huge)).StatusCode);
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, (await PostAsync(node, "/audit/fhir", Bundle([huge]))).StatusCode);
        Assert.Equal(HttpStatusCode.BadRequest, (await PostAsync(node, "/audit/fhir/AuditEvent", new string('[', 100_000))).StatusCode);
        Assert.Equal(HttpStatusCode.BadRequest, (await PostAsync(node, "/audit/fhir", Bundle([]))).StatusCode);
        var refused = await PostAsync(node, "/audit/fhir", Bundle([Event(1), """{"resourceType":"AuditEvent"}"""]));
        Assert.Contains("Bundle.entry[1]: type.code is missing", await refused.Content.ReadAsStringAsync(Cancel), StringComparison.Ordinal);
        Assert.Empty(await node.Events.ReadAsync(0, 10, Cancel));
    }

    [Fact]
    public async Task An_export_has_every_match_once_as_FHIR_and_as_CSV_that_no_spreadsheet_runs()
    {
        await using var node = await Node.StartAsync(_folder.Path, Cancel);
        await node.Events.AppendAsync([.. Enumerable.Range(0, 1200).Select(i => Node.EntryOf(Node.Record(i, $"patient/p{i % 3}", "=cmd|' /C calc'!A0") with { Detail = "a, \"b\"" }, $"r{i}"))], Cancel);
        await Wait.UntilAsync(() => node.Consumer.Log?.Current.Checkpoint.Size == 1200, Cancel);
        var lines = (await node.Http.GetStringAsync("/audit/export?patient=p1", Cancel)).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(400, lines.Distinct().Count());
        Assert.All(lines, l => Assert.Equal(["p1"], AuditEventReader.Read(JsonDocument.Parse(l).RootElement).Patients));
        var csv = (await node.Http.GetStringAsync("/audit/export?format=csv", Cancel)).Split("\r\n", StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(1201, csv.Length);
        Assert.Contains(",'=cmd|' /C calc'!A0,", csv[1], StringComparison.Ordinal);
        Assert.EndsWith(",\"a, \"\"b\"\"\"", csv[1], StringComparison.Ordinal);
    }

    private static void AssertProven(JsonElement entry, Checkpoint checkpoint)
    {
        var proof = entry.GetProperty("extension")[0].GetProperty("extension").EnumerateArray()
            .Select(e => (Url: e.GetProperty("url").GetString(), Value: e.EnumerateObject().First(p => p.Name != "url").Value)).ToArray();
        byte[] Bytes(string url) => proof.Single(p => p.Url == url).Value.GetBytesFromBase64();
        var siblings = proof.Where(p => p.Url == "sibling").Select(p => new TreeHash(p.Value.GetBytesFromBase64())).ToArray();
        var index = long.Parse(proof.Single(p => p.Url == "index").Value.GetString()!, System.Globalization.CultureInfo.InvariantCulture);
        Assert.True(Merkle.IsIncluded(Merkle.LeafHash(Bytes("leaf")), index, checkpoint.Size, siblings, checkpoint.Root));
        Assert.True(AuditLeaf.TryParse(Bytes("leaf"), out var leaf));
        Assert.Equal(leaf.Payload, TreeHash.Of([.. Bytes("salt"), .. Bytes("payload")]));
    }

    private static string Event(int number) => """
        {"resourceType":"AuditEvent","id":"e#N","type":{"system":"http://dicom.nema.org/resources/ontology/DCM","code":"110103"},"subtype":[{"code":"read"}],"action":"R",
        "recorded":"2026-03-#DT00:00:00Z","outcome":"0","agent":[{"who":{"identifier":{"value":"user-#U"}},"requestor":true,"network":{"address":"192.0.2.#N"}}],
        "source":{"site":"ward-3","observer":{"identifier":{"value":"pacs"}}},
        "entity":[{"what":{"identifier":{"value":"p#P"}},"type":{"code":"1"},"role":{"code":"1"}},{"what":{"identifier":{"value":"urn:oid:1.2.#N"}}}]}
        """
        .Replace("#N", $"{number}", StringComparison.Ordinal).Replace("#D", $"{number + 1:D2}", StringComparison.Ordinal)
        .Replace("#U", $"{number % 2}", StringComparison.Ordinal).Replace("#P", $"{number % 3}", StringComparison.Ordinal);

    private static string Bundle(IEnumerable<string> resources) =>
        """{"resourceType":"Bundle","type":"batch","entry":[""" + string.Join(',', resources.Select(r => $"{{\"resource\":{r}}}")) + "]}";

    private static string Canonical(string json) => JsonNode.Parse(json)!.ToJsonString();

    private static Task<HttpResponseMessage> PostAsync(Node node, string path, string json) =>
        node.Http.PostAsync(path, new StringContent(json, Encoding.UTF8, "application/fhir+json"), Cancel);

    private static async Task<JsonElement> SearchAsync(Node node, string query)
    {
        var answer = await node.Http.GetAsync($"/audit/fhir/AuditEvent{query}", Cancel);
        Assert.True(answer.IsSuccessStatusCode, $"{query}: {await answer.Content.ReadAsStringAsync(Cancel)}");
        return await ReadAsync(answer);
    }

    private static async Task<JsonElement> ReadAsync(HttpResponseMessage answer) => JsonDocument.Parse(await answer.Content.ReadAsStringAsync(Cancel)).RootElement;
}
