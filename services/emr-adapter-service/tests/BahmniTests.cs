using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Yizhan.EmrAdapter.Tests;

/// <summary>
/// Bahmni 0.93 as EMR, with recorded payloads behind a server that does what its users suffer from: pages of the feed are counted in rows, so deleted rows
/// move entries (ICT4H/atomfeed, chunking by number); events of one encounter repeat; Bed-Assignment entries name no encounter; obs are not found by order
/// (webservices.rest 2.33, ObsResource1_8 has patient, encounter and concept only); an expired session answers HTML.
/// </summary>
[Trait("Clause", "S5")]
public sealed class BahmniTests
{
    [Fact]
    public async Task Radiology_orders_of_the_feed_are_on_the_worklist_once_and_others_are_not()
    {
        await using var emr = await Bahmni.StartAsync();
        emr.Publish("E1", "E1", "Bed-Assignment", "E2");
        await using var node = await Node.StartAsync(emr.System());
        await Wait.UntilAsync(async () => (await node.WorklistAsync()).Count == 1);
        var step = (await node.WorklistAsync()).Single();
        Assert.Equal(("GAN200001", "李^娜", "HEAD Skull AP", "ORD-284"), (step.PatientId, step.PatientName, step.RequestedProcedureDescription, step.AccessionNumber));
        var unmapped = node.Service<EmrDatabase>().Read(db => db.Command("SELECT system || '|' || code FROM unmapped").Single());
        Assert.Equal("PACS Procedure Code|556", unmapped);

        // Discontinued by an order that points to it, in a later encounter.
        emr.Encounters["E3"] = Bahmni.Encounter("08d2dfa2-0000", "DISCONTINUE", "08d2dfa2-2274-44a1-a29e-30ea02df2798");
        emr.Publish("E3");
        await Wait.UntilAsync(async () => (await node.WorklistAsync()).Count == 0);
        Assert.Equal(2, (await node.OrdersAsync()).Count);
    }

    [Fact]
    public async Task Deleted_rows_of_the_feed_lose_no_order()
    {
        await using var emr = await Bahmni.StartAsync();
        emr.Publish([.. Enumerable.Repeat("E0", 12)]);
        await using var node = await Node.StartAsync(emr.System());
        await Wait.UntilAsync(() => node.Service<Sources.Intake>().Cursor("atomfeed/emr")?.StartsWith("tag:12\t", StringComparison.Ordinal) == true);

        // The last entry that was read is gone, and the pages have moved.
        emr.DeleteRows(7);
        emr.DeleteLast();
        emr.Publish("E1");
        await Wait.UntilAsync(async () => (await node.WorklistAsync()).Count == 1);
    }

    [Fact]
    public async Task A_login_page_instead_of_an_answer_is_waited_out_and_an_encounter_that_fails_is_tried_again()
    {
        await using var emr = await Bahmni.StartAsync();
        emr.Publish("E9", "E1");
        emr.Html = true;
        await using var node = await Node.StartAsync(emr.System());
        await Wait.UntilAsync(() => emr.HtmlAnswers >= 2);
        Assert.Empty(await node.OrdersAsync());
        emr.Html = false;
        await Wait.UntilAsync(async () => (await node.WorklistAsync()).Count == 1);
        emr.Encounters["E9"] = Bahmni.Encounter("late-0001", "NEW", null);
        await Wait.UntilAsync(async () => (await node.WorklistAsync()).Count == 2);
    }

    [Fact]
    public async Task A_result_is_an_obs_group_with_its_order_and_a_newer_version_takes_its_place()
    {
        await using var emr = await Bahmni.StartAsync();
        emr.Publish("E1");
        await using var node = await Node.StartAsync(emr.System());
        await Wait.UntilAsync(async () => (await node.WorklistAsync()).Count == 1);
        emr.LoseAnswers = 2;
        await node.ReportAsync(Node.Report("R1", "preliminary", "ORD-284", "初步报告"));
        await Wait.UntilAsync(async () => (await node.SystemAsync()).Delivered == 1);
        var obs = Assert.Single(emr.Obs.Values);
        Assert.Equal(("08d2dfa2-2274-44a1-a29e-30ea02df2798", "c-report", "105059a8-5226-4b1f-b512-0d3ae685287d"), ((string)obs["order"]!, (string)obs["concept"]!, (string)obs["person"]!));
        Assert.Contains("初步报告", (string)obs["groupMembers"]![0]!["value"]!, StringComparison.Ordinal);

        await node.ReportAsync(Node.Report("R1", "final", "ORD-284", "最终报告", 1_790_000_001_000));
        await Wait.UntilAsync(async () => (await node.SystemAsync()).Delivered == 2);
        Assert.Contains("最终报告", (string)Assert.Single(emr.Obs.Values)["groupMembers"]![0]!["value"]!, StringComparison.Ordinal);
    }

    /// <summary>As much of Bahmni 0.93 as the adapter sees.</summary>
    private sealed class Bahmni : IAsyncDisposable
    {
        private const int RowsPerPage = 5;
        private readonly WebApplication _app;
        private readonly List<(int Row, string Encounter)> _rows = [];
        private int _lastRow;

        private Bahmni(WebApplication app) => _app = app;

        public ConcurrentDictionary<string, JsonObject> Encounters { get; } = new()
        {
            ["E0"] = new JsonObject { ["encounterUuid"] = "E0", ["patientUuid"] = "105059a8-5226-4b1f-b512-0d3ae685287d", ["orders"] = new JsonArray() },
            ["E1"] = JsonNode.Parse(File.ReadAllText(Corpus.Path("bahmni-0.93/sampleOpenMRSEncounter.json")))!.AsObject(),
            ["E2"] = JsonNode.Parse(File.ReadAllText(Corpus.Path("bahmni-0.93/sampleOpenMRSEncounter.json")))!.AsObject(),
        };

        public ConcurrentDictionary<string, JsonObject> Obs { get; } = new();

        public bool Html { get; set; }

        public int HtmlAnswers { get; private set; }

        /// <summary>Answers to POST that get lost after it was done.</summary>
        public int LoseAnswers { get; set; }

        public static async Task<Bahmni> StartAsync()
        {
            var builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            var app = builder.Build();
            app.Urls.Add("http://127.0.0.1:0");
            var emr = new Bahmni(app);
            app.Use((context, next) =>
            {
                if (!emr.Html)
                {
                    return next(context);
                }

                emr.HtmlAnswers++;
                return Results.Content("<html><body>Login</body></html>", "text/html").ExecuteAsync(context);
            });
            app.MapGet("/openmrs/ws/atomfeed/encounter/{page}", (string page) => Results.Content(emr.Page(page), "application/atom+xml"));
            app.MapGet("/openmrs/ws/rest/v1/bahmnicore/bahmniencounter/{uuid}", (string uuid) => emr.Encounters.TryGetValue(uuid, out var found)
                ? Results.Content(found.ToJsonString(), "application/json") : Results.Content("""{"error":{"message":"Object with given uuid doesn't exist"}}""", "application/json", statusCode: 404));
            app.MapGet("/openmrs/ws/rest/v1/patient/{uuid}", (string uuid) => Results.Content($$"""
                {"uuid":"{{uuid}}","identifiers":[{"identifier":"GAN200001","identifierType":{"display":"Bahmni Id"},"preferred":true}],
                 "person":{"gender":"F","birthdate":"1949-12-31T00:00:00.000+0800","preferredName":{"givenName":"娜","familyName":"李"} }
                """ + "}", "application/json"));
            app.MapGet("/openmrs/ws/rest/v1/obs", (string? order) =>
            {
                Assert.Null(order);
                return Results.Content(new JsonObject { ["results"] = new JsonArray([.. emr.Obs.Select(o => o.Value.DeepClone())]) }.ToJsonString(), "application/json");
            });
            app.MapPost("/openmrs/ws/rest/v1/obs", async (HttpRequest request) =>
            {
                var obs = (await JsonNode.ParseAsync(request.Body))!.AsObject();
                obs["uuid"] = $"obs-{emr.Obs.Count + 1}-{obs["comment"]}".Replace(' ', '-');
                emr.Obs[(string)obs["uuid"]!] = obs;
                return emr.LoseAnswers-- > 0 ? Results.StatusCode(500) : Results.Content(obs.ToJsonString(), "application/json", statusCode: 201);
            });
            app.MapDelete("/openmrs/ws/rest/v1/obs/{uuid}", (string uuid) => emr.Obs.TryRemove(uuid, out _) ? Results.NoContent() : Results.NotFound());
            await app.StartAsync(Node.Cancel);
            return emr;
        }

        public static JsonObject Encounter(string uuid, string action, string? previous)
        {
            var encounter = JsonNode.Parse(File.ReadAllText(Corpus.Path("bahmni-0.93/sampleOpenMRSEncounter.json")))!.AsObject();
            var order = encounter["orders"]![0]!.DeepClone().AsObject();
            (order["uuid"], order["action"], order["previousOrderUuid"], order["orderNumber"]) = (uuid, action, previous, $"N-{uuid}");
            encounter["orders"] = new JsonArray(order);
            return encounter;
        }

        public string[] System() =>
        [
            "--emr-adapter:systems:0:name=emr", "--emr-adapter:systems:0:driver=bahmni", $"--emr-adapter:systems:0:url={_app.Urls.Single()}/openmrs", "--emr-adapter:systems:0:pollMs=50",
            "--emr-adapter:systems:0:since=2000-01-01T00:00:00Z", "--emr-adapter:systems:0:concepts:report=c-report", "--emr-adapter:systems:0:concepts:reportText=c-text",
        ];

        public void Publish(params string[] encounters)
        {
            lock (_rows)
            {
                _rows.AddRange(encounters.Select(e => (++_lastRow, e)));
            }
        }

        public void DeleteRows(int count)
        {
            lock (_rows)
            {
                _rows.RemoveRange(0, count);
            }
        }

        public void DeleteLast()
        {
            lock (_rows)
            {
                _rows.RemoveAt(_rows.Count - 1);
            }
        }

        public async ValueTask DisposeAsync() => await _app.DisposeAsync();

        private string Page(string number)
        {
            lock (_rows)
            {
                var last = Math.Max(1, (_rows.Count + RowsPerPage - 1) / RowsPerPage);
                var page = number == "recent" ? last : int.Parse(number, global::System.Globalization.CultureInfo.InvariantCulture);

                // Links name a host behind a proxy, which is none of ours.
                string Link(string relation, int to) => $"<link rel=\"{relation}\" href=\"http://openmrs.internal:8050/openmrs/ws/atomfeed/encounter/{to}\"/>";
                return $"<feed xmlns=\"http://www.w3.org/2005/Atom\"><title>OpenMRS</title>{Link("via", page)}{(page > 1 ? Link("prev-archive", page - 1) : "")}{(page < last ? Link("next-archive", page + 1) : "")}" +
                    string.Concat(_rows.Skip((page - 1) * RowsPerPage).Take(RowsPerPage).Select(r =>
                        $"<entry><title>{(r.Encounter == "Bed-Assignment" ? r.Encounter : "Encounter")}</title><id>tag:{r.Row}</id><updated>2026-11-22T20:00:{r.Row:00}Z</updated>" +
                        $"<content type=\"application/vnd.atomfeed+xml\"><![CDATA[/openmrs/ws/rest/v1/bahmnicore/bahmniencounter/{r.Encounter}?includeAll=true]]></content></entry>")) + "</feed>";
            }
        }
    }
}
