using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.IO.Compression;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Spectre.Console;
using Yizhan.Contracts;

namespace Yizhan.Cli;

/// <summary><c>yizhan model</c>: bundles of a node and their way to the studies and back.</summary>
internal static class ModelCommand
{
    private static readonly Option<Uri> Node = new("--node")
    {
        Description = "Web address of the node.",
        Recursive = true,
        DefaultValueFactory = _ => new Uri("http://127.0.0.1:8081/"),
        CustomParser = NodeClient.Address,
    };

    private static readonly Option<bool> Json = new("--json") { Description = "The last line of the output is one JSON object.", Recursive = true };

    private static readonly Option<string> Reason = new("--reason") { Description = "Why; goes into the history and the audit log.", Required = true };


    public static Command Create() => new("model", "Models of a node: bundles, versions, rollouts.")
    {
        Node, Json, List(), Add(), Test(), Promote(), Hold(), Rollback(), ModelFiguresCommand.Create(Node, Json),
    };

    private static Command List()
    {
        var command = new Command("list", """
            Lists every version of every model with its state, and how the versions share the studies.

            Examples:
              yizhan model list
              yizhan model list --json | tail -n 1 | jq '.models[].name'
            """);
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetRequiredValue(Node), async http =>
        {
            var models = (await NodeClient.GetAsync(http, "ai-infer/models", cancellationToken)).AsArray();
            var table = new Table().Border(TableBorder.Simple).AddColumns("model", "version", "state", "studies", "signed by", "use", "reason");
            var rollouts = new JsonObject();
            foreach (var model in models)
            {
                var name = (string)model!["name"]!;
                rollouts[name] ??= await NodeClient.GetAsync(http, $"ai-infer/rollouts/{name}", cancellationToken);
                var version = (string)model["version"]!;
                var rollout = rollouts[name]!;
                var studies = rollout["stopped"] is not null ? "stopped" : (string?)rollout["candidate"] == version ? $"{rollout["percent"]} %" : (string?)rollout["stable"] == version ? "all others" : "";
                table.AddRow([.. new[]
                {
                    name, version, (string)model["state"]!, studies, (bool)model["ships"]! ? "ships with the product" : string.Join(", ", model["signedBy"]!.AsArray().Select(s => (string)s!)),
                    (bool)model["clinicalUse"]! ? "clinical" : "not for clinical use", (string?)model["reason"] ?? "",
                }.Select(Markup.Escape)]);
            }

            Print(parsed, new JsonObject { ["models"] = models.DeepClone(), ["rollouts"] = rollouts }, () => AnsiConsole.Write(table));
            return 0;
        }));
        return command;
    }

    private static Command Add()
    {
        var bundle = new Argument<string>("bundle") { Description = "A bundle: a folder or a zip archive with manifest.json and signatures." };
        var command = new Command("add", """
            Gives a bundle to the node, which checks its signature, tries it in a process of its own, and keeps it.

            Examples:
              yizhan model add ./lung-2.1.0
              yizhan model add lung-2.1.0.zip --node http://127.0.0.1:8081/
            """) { bundle };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            var path = parsed.GetRequiredValue(bundle);
            if (!File.Exists(path) && !Directory.Exists(path))
            {
                await Console.Error.WriteLineAsync($"yizhan: '{path}' does not exist.");
                return 66;
            }

            return await NodeClient.RunAsync(parsed.GetRequiredValue(Node), async http =>
            {
                await using var archive = Directory.Exists(path) ? Zip(path) : File.OpenRead(path);
                var added = (string?)await NodeClient.PostAsync(http, "ai-infer/models", new StreamContent(archive), cancellationToken);
                Print(parsed, new JsonObject { ["added"] = added }, () => AnsiConsole.WriteLine($"{added} is kept. 'yizhan model promote' gives it studies."));
                return 0;
            });
        });
        return command;
    }

    private static Command Test()
    {
        var name = new Argument<string>("model") { Description = "Name of the model." };
        var count = new Option<int>("--count") { Description = "Computations.", DefaultValueFactory = _ => 20 };
        var command = new Command("test", """
            Loads a model, lets it compute on zeros, and prints what runs it and how long it takes.

            Examples:
              yizhan model test nodule
              yizhan model test nodule --count 100 --json | tail -n 1 | jq .p50Ms
            """) { name, count };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetRequiredValue(Node), async http =>
        {
            var model = parsed.GetRequiredValue(name);
            await PostV2Async(http, $"v2/repository/models/{model}/load", "{}", cancellationToken);
            var metadata = await NodeClient.GetAsync(http, $"v2/models/{model}", cancellationToken);
            var request = Zeros(metadata["inputs"]!.AsArray());
            var times = new List<double>();
            for (var i = 0; i < Math.Clamp(parsed.GetValue(count), 1, 10_000); i++)
            {
                var started = Stopwatch.GetTimestamp();
                await PostV2Async(http, $"v2/models/{model}/infer", request, cancellationToken);
                times.Add(Stopwatch.GetElapsedTime(started).TotalMilliseconds);
            }

            times.Sort();
            var runsOn = (await NodeClient.GetAsync(http, "ai-infer/models", cancellationToken)).AsArray().Where(m => (string)m!["name"]! == model).Select(m => (string?)m!["runsOn"]).FirstOrDefault(r => r is not null);
            var (p50, p99) = (times[times.Count / 2], times[(int)(times.Count * 0.99)]);
            Print(parsed, new JsonObject { ["model"] = model, ["runsOn"] = runsOn, ["count"] = times.Count, ["p50Ms"] = Math.Round(p50, 2), ["p99Ms"] = Math.Round(p99, 2) },
                () => AnsiConsole.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{model} runs on {runsOn}. {times.Count} computations: p50 {p50:0.0} ms, p99 {p99:0.0} ms (JSON tensors included).")));
            return 0;
        }));
        return command;
    }

    private static Command Promote()
    {
        var name = new Argument<string>("model") { Description = "Name of the model." };
        var version = new Argument<string>("version") { Description = "Version that gets studies." };
        var percent = new Option<int>("--percent") { Description = "0 (only watches), 10, 50 or 100.", DefaultValueFactory = _ => 100 };
        var command = new Command("promote", """
            Gives a version a part of the studies, or all of them.

            Examples:
              yizhan model promote nodule 2.0.0 --percent 10 --reason "validated on 200 studies"
              yizhan model promote nodule 2.0.0 --reason "a week at 50 percent without a finding missed"
            """) { name, version, percent, Reason };
        command.SetAction((parsed, cancellationToken) => ChangeAsync(
            parsed, parsed.GetRequiredValue(name), "promote", new RolloutRequest(parsed.GetRequiredValue(Reason), parsed.GetRequiredValue(version), parsed.GetValue(percent)), cancellationToken));
        return command;
    }

    private static Command Hold()
    {
        var name = new Argument<string>("model") { Description = "Name of the model." };
        var all = new Option<bool>("--all") { Description = "Stop the model, not only its candidate." };
        var command = new Command("hold", """
            Takes the candidate out of the rollout; with --all, or when there is none, nothing is analysed by the model any more. Works without the centre.

            Examples:
              yizhan model hold nodule --reason "too many false ones"
              yizhan model hold nodule --all --reason "recall 17"
            """) { name, all, Reason };
        command.SetAction((parsed, cancellationToken) => ChangeAsync(
            parsed, parsed.GetRequiredValue(name), "hold", new RolloutRequest(parsed.GetRequiredValue(Reason), All: parsed.GetValue(all)), cancellationToken));
        return command;
    }

    private static Command Rollback()
    {
        var name = new Argument<string>("model") { Description = "Name of the model." };
        var command = new Command("rollback", """
            Gives all studies to the version before, and starts a model that is held again. Works without the centre.

            Examples:
              yizhan model rollback nodule --reason "2.0.0 misses small ones"
            """) { name, Reason };
        command.SetAction((parsed, cancellationToken) => ChangeAsync(
            parsed, parsed.GetRequiredValue(name), "rollback", new RolloutRequest(parsed.GetRequiredValue(Reason)), cancellationToken));
        return command;
    }

    private static Task<int> ChangeAsync(ParseResult parsed, string model, string action, RolloutRequest request, CancellationToken cancellationToken) =>
        NodeClient.RunAsync(parsed.GetRequiredValue(Node), async http =>
        {
            var view = await NodeClient.PostAsync(http, $"ai-infer/rollouts/{model}/{action}", JsonContent.Create(request, ContractsJson.Default.RolloutRequest), cancellationToken);
            Print(parsed, (JsonObject)view!, () =>
            {
                AnsiConsole.WriteLine(view!["stopped"] is { } stopped ? $"{model} is stopped: {stopped}"
                    : $"{model}: {(view["candidate"] is { } candidate ? $"{candidate} has {view["percent"]} % of the studies, " : "")}{view["stable"]} has all others.");
                var table = new Table().Border(TableBorder.Simple).AddColumns("when", "what", "version", "by", "why");
                foreach (var change in view["history"]!.AsArray().Take(10))
                {
                    table.AddRow([.. new[]
                    {
                        DateTimeOffset.FromUnixTimeMilliseconds((long)change!["atMs"]!).ToString("u", CultureInfo.InvariantCulture),
                        (string)change["action"]!, (string)change["version"]!, (string)change["who"]!, (string)change["reason"]!,
                    }.Select(Markup.Escape)]);
                }

                AnsiConsole.Write(table);
            });
            return 0;
        });

    /// <summary>The protocol's own errors have another shape than a problem.</summary>
    public static async Task<JsonNode> PostV2Async(HttpClient http, string path, string json, CancellationToken cancellationToken)
    {
        using var answer = await http.PostAsync(path, new StringContent(json), cancellationToken);
        var text = await answer.Content.ReadAsStringAsync(cancellationToken);
        return answer.IsSuccessStatusCode ? JsonNode.Parse(text.Length == 0 ? "{}" : text)!
            : throw new HttpRequestException((string?)JsonNode.Parse(text)?["error"] ?? $"The node answered {(int)answer.StatusCode}.");
    }

    private static string Zeros(JsonArray inputs) => new JsonObject
    {
        ["inputs"] = new JsonArray([.. inputs.Select(input =>
        {
            var shape = input!["shape"]!.AsArray().Select((d, i) => (long)d! is > 0 and var fixedSize ? fixedSize : i < 2 ? 1 : 64).ToArray();
            return new JsonObject
            {
                ["name"] = (string)input["name"]!,
                ["datatype"] = (string)input["datatype"]!,
                ["shape"] = new JsonArray([.. shape.Select(d => JsonValue.Create(d))]),
                ["data"] = new JsonArray([.. Enumerable.Repeat(0, (int)shape.Aggregate(1L, (a, b) => a * b)).Select(_ => (string)input["datatype"]! == "BYTES" ? JsonValue.Create("0") : JsonValue.Create(0))]),
            };
        })]),
    }.ToJsonString();

    internal static FileStream Zip(string folder)
    {
        var path = Path.GetTempFileName();
        var stream = new FileStream(path, FileMode.Create, FileAccess.ReadWrite, FileShare.None, 128 * 1024, FileOptions.DeleteOnClose);
        ZipFile.CreateFromDirectory(folder, stream);
        stream.Position = 0;
        return stream;
    }

    private static void Print(ParseResult parsed, JsonObject json, Action forPeople)
    {
        if (parsed.GetValue(Json))
        {
            Console.WriteLine(json.ToJsonString(CliJson.Options));
        }
        else
        {
            forPeople();
        }
    }
}
