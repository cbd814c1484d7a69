using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Yizhan.EmrAdapter.Tests;

/// <summary>An OpenMRS with fhir2 as it is: what it drops, refuses and renames (openmrs-module-fhir2 1.11 to 2.9).</summary>
[Trait("Clause", "S5")]
public sealed class OpenMrsTests
{
    [Fact]
    public async Task A_report_is_one_observation_and_one_report_through_its_versions_whatever_fhir2_drops()
    {
        await using var emr = await Fhir2.StartAsync();
        await using var node = await Node.StartAsync(emr.System());
        await Wait.UntilAsync(async () => (await node.WorklistAsync()).Count == 1);
        var study = (await node.WorklistAsync()).Single().StudyInstanceUid;

        // An answer that is lost after the resource was made.
        emr.LoseAnswers = 1;
        await node.ReportAsync(Node.Report("R1", "preliminary", "ORD-1", "初步报告"));
        await Wait.UntilAsync(async () => (await node.SystemAsync()) is { Delivered: 1, Waiting: 0 });
        await node.ReportAsync(Node.Report("R1", "corrected", "ORD-1", "双肺未见异常。", 1_790_000_001_000));
        await FhirTests.AppendAsync(node, FhirTests.Finding("F1", study));
        await Wait.UntilAsync(async () => (await node.SystemAsync()) is { Delivered: 3, Waiting: 0, DeadLetters: 0 });

        var observations = emr.Live("Observation");
        Assert.Equal(
            ["CT chest\n双肺未见异常。", "chest-triage 1.4.0: Pneumothorax, 12.5 mL, urgent. NOT FOR CLINICAL USE."],
            observations.Select(o => (string)o["valueString"]!).Order(StringComparer.Ordinal));
        Assert.Equal(["amended", "preliminary"], observations.Select(o => (string)o["status"]!).Order(StringComparer.Ordinal));
        var reports = emr.Live("DiagnosticReport");
        Assert.Equal(2, reports.Count);

        // PUT of an Observation has made another one; the report refers to that.
        Assert.Equal(observations.Select(o => $"Observation/{o["id"]}").Order(StringComparer.Ordinal), reports.Select(r => (string)r["result"]![0]!["reference"]!).Order(StringComparer.Ordinal));
    }

    private sealed class Fhir2(WebApplication app) : IAsyncDisposable
    {
        private readonly ConcurrentDictionary<string, JsonObject> _resources = new();
        private int _last;

        /// <summary>Answers to POST that get lost after it was done.</summary>
        public int LoseAnswers { get; set; }

        public static async Task<Fhir2> StartAsync()
        {
            var builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            var app = builder.Build();
            app.Urls.Add("http://127.0.0.1:0");
            var emr = new Fhir2(app);
            const string Base = "/openmrs/ws/fhir2/R4";

            // Basic authentication on everything but metadata; it splits at ':'.
            app.Use((context, next) => context.Request.Headers.Authorization == $"Basic {Convert.ToBase64String("yizhan:secret"u8)}" ? next(context) : Results.StatusCode(401).ExecuteAsync(context));
            app.MapGet(Base + "/{type}", (string type, HttpRequest request) => emr.Search(type, request.Query));
            app.MapGet(Base + "/{type}/{id}", (string type, string id) => emr._resources.TryGetValue($"{type}/{id}", out var found) ? Fhir(found) : Results.StatusCode(404));
            app.MapPost(Base + "/{type}", async (string type, HttpRequest request) =>
            {
                var made = emr.Keep(type, $"uuid-{Interlocked.Increment(ref emr._last)}", (await JsonNode.ParseAsync(request.Body))!.AsObject());
                return emr.LoseAnswers-- > 0 ? Results.StatusCode(500) : Fhir(made, 201);
            });
            app.MapPut(Base + "/{type}/{id}", async (string type, string id, HttpRequest request) =>
            {
                if (!emr._resources.ContainsKey($"{type}/{id}"))
                {
                    return Results.StatusCode(404);
                }

                // Core voids the obs and makes another one with another uuid.
                if (type == "Observation")
                {
                    emr._resources.TryRemove($"{type}/{id}", out _);
                    id = $"uuid-{Interlocked.Increment(ref emr._last)}";
                }

                return Fhir(emr.Keep(type, id, (await JsonNode.ParseAsync(request.Body))!.AsObject()));
            });
            await app.StartAsync(Node.Cancel);
            emr.Keep("Patient", "p-1", JsonNode.Parse(FhirTests.PatientJson)!.AsObject());
            emr.Keep("ServiceRequest", "o-1", JsonNode.Parse("""
                {"resourceType":"ServiceRequest","status":"active","intent":"order","subject":{"reference":"Patient/p-1"},"occurrenceDateTime":"2026-11-01T01:30:00Z",
                 "identifier":[{"value":"ORD-1"}],"code":{"coding":[{"code":"161640AAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},{"system":"http://loinc.org","code":"24627-2","display":"CT Chest"}]} }
                """)!.AsObject());
            return emr;
        }

        public string[] System()
        {
            var password = Path.Combine(Path.GetTempPath(), $"yizhan-openmrs-{Environment.ProcessId}.password");
            File.WriteAllText(password, "secret\n");
            return
            [
                "--emr-adapter:systems:0:name=emr", "--emr-adapter:systems:0:driver=openmrs", $"--emr-adapter:systems:0:url={app.Urls.Single()}/openmrs", "--emr-adapter:systems:0:pollMs=50",
                "--emr-adapter:systems:0:since=2000-01-01T00:00:00Z", "--emr-adapter:systems:0:user=yizhan", $"--emr-adapter:systems:0:passwordFile={password}",
                "--emr-adapter:systems:0:concepts:report=c-report", "--emr-adapter:systems:0:concepts:reportText=c-text",
            ];
        }

        public IReadOnlyList<JsonObject> Live(string type) => [.. _resources.Where(r => r.Key.StartsWith(type + "/", StringComparison.Ordinal)).Select(r => r.Value)];

        public async ValueTask DisposeAsync()
        {
            await app.DisposeAsync();
            File.Delete(Path.Combine(Path.GetTempPath(), $"yizhan-openmrs-{Environment.ProcessId}.password"));
        }

        private JsonObject Keep(string type, string id, JsonObject resource)
        {
            resource["id"] = id;
            resource["meta"] = new JsonObject { ["lastUpdated"] = "2026-11-01T00:00:00.000+00:00" };
            if (type == "DiagnosticReport")
            {
                // Kept are status, code, subject, issued and result; the category is always LAB, and before 3.0.0 even the conclusion is lost.
                foreach (var dropped in (string[])["identifier", "conclusion", "presentedForm", "imagingStudy", "media", "performer", "effectiveDateTime", "basedOn"])
                {
                    resource.Remove(dropped);
                }

                resource["category"] = JsonNode.Parse("""[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0074","code":"LAB"}]}]""");
            }

            if (type == "Observation")
            {
                // Only three statuses are stored, and a coding without system is a concept's uuid.
                Assert.Contains((string)resource["status"]!, (string[])["preliminary", "final", "amended"]);
                Assert.Null(resource["code"]!["coding"]![0]!["system"]);
                resource.Remove("identifier");
                resource.Remove("component");
            }

            _resources[$"{type}/{id}"] = resource;
            return resource;
        }

        private IResult Search(string type, IQueryCollection query)
        {
            string[] known = type switch
            {
                "DiagnosticReport" => ["patient", "subject", "encounter", "code", "issued", "result", "_id", "_lastUpdated", "_sort", "_count"],
                "Observation" => ["patient", "subject", "encounter", "code", "_id", "_lastUpdated", "_sort", "_count"],
                "Patient" => ["identifier", "_id", "_lastUpdated", "_sort", "_count"],
                "ServiceRequest" => ["patient", "code", "encounter", "requester", "occurrence", "_lastUpdated", "_sort", "_count"],
                _ => [],
            };
            if (known.Length == 0 || query.Keys.FirstOrDefault(k => !known.Contains(k)) is not null)
            {
                return Results.Content("""{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"processing","diagnostics":"HAPI-0524: Unknown search parameter"}]}""", "application/fhir+json", statusCode: 400);
            }

            var found = Live(type).Where(r =>
                (query["code"].ToString() is not { Length: > 0 } code || (string?)r["code"]?["coding"]?[0]?["code"] == code)
                && (query["identifier"].ToString() is not { Length: > 0 } identifier || r["identifier"]!.AsArray().Any(i => (string?)i!["value"] == identifier.Split('|')[^1])));
            return Fhir(new JsonObject
            {
                ["resourceType"] = "Bundle",
                ["type"] = "searchset",
                ["entry"] = new JsonArray([.. found.Select(r => new JsonObject { ["resource"] = r.DeepClone() })]),
            });
        }

        private static IResult Fhir(JsonObject resource, int status = 200) => Results.Content(resource.ToJsonString(), "application/fhir+json", statusCode: status);
    }
}
