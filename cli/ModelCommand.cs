using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.IO.Compression;
using System.Net.Http.Json;
using System.Text.Json;
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
        Node, Json, List(), ModelPackCommand.Create(Json), Add(), Test(), Promote(), Hold(), Rollback(), ModelFiguresCommand.Create(Node, Json),
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
            var table = new Table().Border(TableBorder.Simple).AddColumns("model", "version", "state", "studies", "signed by");
            var rollouts = new JsonObject();
            var notes = new List<string>();
            foreach (var model in models)
            {
                var name = (string)model!["name"]!;
                rollouts[name] ??= await NodeClient.GetAsync(http, $"ai-infer/rollouts/{name}", cancellationToken);
                var version = (string)model["version"]!;
                var rollout = rollouts[name]!;
                var alone = rollout["candidate"] is null || (int)rollout["percent"]! == 0;
                var studies = rollout["stopped"] is not null ? "stopped"
                    : (string?)rollout["candidate"] == version ? alone ? "watches" : $"{rollout["percent"]} %"
                    : (string?)rollout["stable"] == version ? alone ? "all" : "all others"
                    : "";
                var reason = (string?)model["reason"] ?? "";

                // The protocol calls both UNAVAILABLE: what nobody needed yet, and what cannot be loaded.
                var state = (string)model["state"]! switch { "READY" => "loaded", "LOADING" => "loading", _ => reason is "" or "unloaded" ? "not loaded" : "refused" };
                table.AddRow([.. new[]
                {
                    name, version, state, studies, (bool)model["ships"]! ? "(product)" : string.Join(", ", model["signedBy"]!.AsArray().Select(s => (string)s!)),
                }.Select(Markup.Escape)]);
                if (state == "refused")
                {
                    notes.Add($"{name} {version}: {reason}");
                }
            }

            notes.AddRange(rollouts.Where(r => r.Value!["stopped"] is not null).Select(r => $"{r.Key} is stopped: {r.Value!["stopped"]}"));
            if (models.Where(m => !(bool)m!["clinicalUse"]!).Select(m => $"{m!["name"]} {m["version"]}").ToArray() is { Length: > 0 } research)
            {
                notes.Add($"Not for clinical use: {string.Join(", ", research)}.");
            }

            Print(parsed, new JsonObject { ["models"] = models.DeepClone(), ["rollouts"] = rollouts }, () =>
            {
                AnsiConsole.Write(table);
                notes.ForEach(AnsiConsole.WriteLine);
            });
            return 0;
        }));
        return command;
    }

    private static Command Add()
    {
        var bundle = new Argument<string>("bundle") { Description = "A bundle: a folder or a zip archive with manifest.json and signatures." };
        var command = new Command("add", """
            Gives a bundle to the node, which checks its signature, tries it in a process of its own, and keeps it. A bundle for speech or
            translation (it has configs/speech.json) goes to what hears and translates.

            Examples:
              yizhan model add ./lung-2.1.0
              yizhan model add lung-2.1.0.zip --node http://127.0.0.1:8081/
              yizhan model add ./mandarin-open-1.0.0
            """) { bundle };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            var path = parsed.GetRequiredValue(bundle);
            if (!File.Exists(path) && !Directory.Exists(path))
            {
                await Console.Error.WriteLineAsync($"yizhan: '{path}' does not exist.");
                return CommandLine.Failed;
            }

            return await NodeClient.RunAsync(parsed.GetRequiredValue(Node), async http =>
            {
                await using var archive = Directory.Exists(path) ? Zip(path) : File.OpenRead(path);
                if (IsForSpeech(archive))
                {
                    var pack = (string)(await NodeClient.PostAsync(http, "nmt-asr/packs", new StreamContent(archive), cancellationToken))!;
                    Print(parsed, new JsonObject { ["added"] = pack }, () => AnsiConsole.WriteLine($"{pack} is kept; 'yizhan asr packs' lists it."));
                    return 0;
                }

                var added = (string)(await NodeClient.PostAsync(http, "ai-infer/models", new StreamContent(archive), cancellationToken))!;
                var (name, version) = (added.Split(' ')[0], added.Split(' ')[1]);
                var stable = (string)(await NodeClient.GetAsync(http, $"ai-infer/rollouts/{name}", cancellationToken))["stable"]!;
                Print(parsed, new JsonObject { ["added"] = added, ["stable"] = stable }, () => AnsiConsole.WriteLine(stable == version
                    ? $"{added} is kept. It gets all studies of a rule that names it (ai-infer:rules); 'yizhan model test {name}' lets it compute."
                    : $"{added} is kept. {stable} goes on with all studies; 'yizhan model promote {added} --percent 0 --reason ...' lets the new one watch."));
                return 0;
            });
        });
        return command;
    }

    private static Command Test()
    {
        var name = new Argument<string>("model") { Description = "Name of the model." };
        var version = new Argument<string?>("version") { Description = "Version; none: the newest.", Arity = ArgumentArity.ZeroOrOne };
        var count = new Option<int>("--count") { Description = "Computations, 1 to 10000.", DefaultValueFactory = _ => 20 };
        count.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() is not (>= 1 and <= 10_000))
            {
                result.AddError("--count: accepted are numbers from 1 to 10000.");
            }
        });
        var command = new Command("test", """
            Loads a model, lets it compute on zeros, and prints what runs it and how long it takes. Studies are not touched, so a version can be tested before it is promoted.

            Examples:
              yizhan model test nodule
              yizhan model test nodule 2.0.0
              yizhan model test nodule --count 100 --json | tail -n 1 | jq .p50Ms
            """) { name, version, count };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetRequiredValue(Node), async http =>
        {
            var (model, asked) = (parsed.GetRequiredValue(name), parsed.GetValue(version));
            var load = asked is null ? new JsonObject() : new JsonObject { ["parameters"] = new JsonObject { ["version"] = asked } };
            await PostV2Async(http, $"v2/repository/models/{model}/load", load.ToJsonString(), cancellationToken);
            var path = asked is null ? $"v2/models/{model}" : $"v2/models/{model}/versions/{asked}";
            var inputs = Zeros((await NodeClient.GetAsync(http, path, cancellationToken))["inputs"]!.AsArray());
            var times = new List<double>();
            for (var i = 0; i < parsed.GetValue(count); i++)
            {
                var started = Stopwatch.GetTimestamp();
                await InferAsync(http, path + "/infer", inputs.Header, inputs.Data, cancellationToken);
                times.Add(Stopwatch.GetElapsedTime(started).TotalMilliseconds);
            }

            var (first, sorted) = (times[0], times.Order().ToArray());
            var tested = (await NodeClient.GetAsync(http, "ai-infer/models", cancellationToken)).AsArray().Last(m => (string)m!["name"]! == model && (asked is null ? m["runsOn"] is not null : (string)m["version"]! == asked))!;
            var (number, runsOn) = ((string)tested["version"]!, (string?)tested["runsOn"]);
            var (p50, p99) = (sorted[sorted.Length / 2], sorted[(int)(sorted.Length * 0.99)]);
            Print(parsed, new JsonObject
            {
                ["model"] = model,
                ["version"] = number,
                ["runsOn"] = runsOn,
                ["count"] = times.Count,
                ["shapes"] = inputs.Shapes.DeepClone(),
                ["firstMs"] = Math.Round(first, 2),
                ["p50Ms"] = Math.Round(p50, 2),
                ["p99Ms"] = Math.Round(p99, 2),
            }, () => AnsiConsole.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{model} {number} runs on {runsOn}. {times.Count} computations of {inputs.Shapes.ToJsonString()}: first {first:0.0} ms, p50 {p50:0.0} ms, p99 {p99:0.0} ms, the way to the node and back included.")));
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
            Gives all studies to the version before, and starts a model that is held again. A version that was rolled back is not gone back to; 'promote' chooses any. Works without
            the centre.

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
                    : view["candidate"] is not { } candidate ? $"{model}: {view["stable"]} has all studies."
                    : (int)view["percent"]! == 0 ? $"{model}: {candidate} only watches, {view["stable"]} has all studies."
                    : $"{model}: {candidate} has {view["percent"]} % of the studies, {view["stable"]} has all others.");
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
    public static Task<JsonNode> PostV2Async(HttpClient http, string path, string json, CancellationToken cancellationToken) =>
        PostV2Async(http, new HttpRequestMessage(HttpMethod.Post, path) { Content = new StringContent(json) }, async answer =>
        {
            var text = await answer.ReadAsStringAsync(cancellationToken);
            return JsonNode.Parse(text.Length == 0 ? "{}" : text)!;
        }, cancellationToken);

    /// <summary>Asks with binary tensors, and is content with any answer.</summary>
    private static Task<long> InferAsync(HttpClient http, string path, byte[] header, byte[] data, CancellationToken cancellationToken)
    {
        var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = new ByteArrayContent([.. header, .. data]) };
        request.Headers.Add("Inference-Header-Content-Length", header.Length.ToString(CultureInfo.InvariantCulture));
        return PostV2Async(http, request, async answer => (await answer.ReadAsByteArrayAsync(cancellationToken)).LongLength, cancellationToken);
    }

    private static async Task<T> PostV2Async<T>(HttpClient http, HttpRequestMessage request, Func<HttpContent, Task<T>> read, CancellationToken cancellationToken)
    {
        using var sent = request;
        using var answer = await http.SendAsync(request, cancellationToken);
        if (answer.IsSuccessStatusCode)
        {
            return await read(answer.Content);
        }

        string? error = null;
        try
        {
            var said = JsonNode.Parse(await answer.Content.ReadAsStringAsync(cancellationToken));
            error = (string?)said?["error"] ?? (string?)said?["detail"];
        }
        catch (JsonException)
        {
            // Not of the protocol: the status says what there is to say.
        }

        throw new NodeClient.RefusedException(error ?? $"{(int)answer.StatusCode} {answer.ReasonPhrase} for /{request.RequestUri}.");
    }

    /// <summary>Zeros for every input: free dimensions are a batch of one, one channel, and 64 each.</summary>
    private static (byte[] Header, byte[] Data, JsonArray Shapes) Zeros(JsonArray inputs)
    {
        var (described, shapes, data) = (new JsonArray(), new JsonArray(), new MemoryStream());
        foreach (var input in inputs)
        {
            long[] shape = [.. input!["shape"]!.AsArray().Select((d, i) => (long)d! is > 0 and var fixedSize ? fixedSize : i < 2 ? 1 : 64)];
            var (count, datatype) = (shape.Aggregate(1L, (a, b) => a * b), (string)input["datatype"]!);

            // A string is its length as uint32 and its bytes: "0".
            byte[] element = datatype switch { "BYTES" => [1, 0, 0, 0, (byte)'0'], "INT64" or "UINT64" or "FP64" => new byte[8], "INT32" or "UINT32" or "FP32" => new byte[4], "BOOL" or "INT8" or "UINT8" => [0], _ => [0, 0] };
            for (var i = 0L; i < count; i++)
            {
                data.Write(element);
            }

            shapes.Add(new JsonArray([.. shape.Select(d => JsonValue.Create(d))]));
            described.Add(new JsonObject
            {
                ["name"] = (string)input["name"]!,
                ["datatype"] = datatype,
                ["shape"] = shapes[^1]!.DeepClone(),
                ["parameters"] = new JsonObject { ["binary_data_size"] = count * element.Length },
            });
        }

        var header = new JsonObject { ["parameters"] = new JsonObject { ["binary_data_output"] = true }, ["inputs"] = described };
        return (System.Text.Encoding.UTF8.GetBytes(header.ToJsonString()), data.ToArray(), shapes);
    }

    /// <summary>Whether an archive says that it hears or translates; what is no archive the node refuses.</summary>
    private static bool IsForSpeech(FileStream archive)
    {
        try
        {
            using var zip = new ZipArchive(archive, ZipArchiveMode.Read, leaveOpen: true);
            return zip.GetEntry("configs/speech.json") is not null;
        }
        catch (InvalidDataException)
        {
            return false;
        }
        finally
        {
            archive.Position = 0;
        }
    }

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
