using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using Spectre.Console;
using Yizhan.Samples;

namespace Yizhan.Cli;

/// <summary><c>yizhan model figures</c>: measures the published figures of the bundles that ship, again, with the engine of a node.</summary>
internal static class ModelFiguresCommand
{
    private const int Seed = 2026, Slices = 1200, BodyPartImage = 64 * 64, BatchSlices = 10;

    /// <summary>The bundle's test set is not here: EX_NOINPUT.</summary>

    public static Command Create(Option<Uri> node, Option<bool> json)
    {
        var bundle = new Argument<string?>("bundle") { Description = "nodule or body-part; none: both, as far as their test sets are here.", Arity = ArgumentArity.ZeroOrOne };
        var testSet = new Option<DirectoryInfo?>("--test-set") { Description = "Folder with mednist_test_x.u8 and mednist_test_y.u8, for body-part; models/training/mednist_train.py writes them." };
        var tolerance = new Option<double>("--tolerance") { Description = "How far a measured figure may be from the published one.", DefaultValueFactory = _ => 0.05 };
        tolerance.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<double>() is not (>= 0 and <= 1))
            {
                result.AddError("--tolerance: accepted are numbers from 0 to 1.");
            }
        });
        var command = new Command("figures", """
            Runs a bundle that ships on its test set, through the node's own engine, and prints each published figure beside the measured one.
            'nodule' is measured on 1200 slices that are drawn from a fixed seed by the rules of models/training/phantom.py. 'body-part' needs images that
            do not ship: --test-set. Exit code: 1 when a figure is farther from the published one than the tolerance, or when the test set is missing.

            Examples:
              yizhan model figures
              yizhan model figures nodule --json | tail -n 1 | jq '.bundles[].figures'
              yizhan model figures body-part --test-set models/training --tolerance 0.005
            """) { bundle, testSet, tolerance };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetRequiredValue(node), async http =>
        {
            var (asked, limit) = (parsed.GetValue(bundle), parsed.GetValue(tolerance));
            var shipped = (await NodeClient.GetAsync(http, "ai-infer/models", cancellationToken)).AsArray().Where(m => (bool)m!["ships"]! && (string)m["name"]! is "nodule" or "body-part").ToArray();
            if (asked is not null && shipped.All(m => (string)m!["name"]! != asked))
            {
                await Console.Error.WriteLineAsync($"yizhan: '{asked}' is no bundle that ships with figures; accepted: {string.Join(", ", shipped.Select(m => (string)m!["name"]!))}.");
                return CommandLine.WrongUse;
            }

            var rows = new JsonArray();
            foreach (var model in shipped.Where(m => asked is null || (string)m!["name"]! == asked))
            {
                var (name, version, published) = ((string)model!["name"]!, (string)model["version"]!, model["figures"]!.AsObject());
                var client = new Inference(http, name, version);
                var measured = name == "nodule" ? await NoduleAsync(client, cancellationToken) : await BodyPartAsync(client, parsed.GetValue(testSet), cancellationToken);
                rows.Add(new JsonObject
                {
                    ["bundle"] = name,
                    ["version"] = version,
                    ["measured"] = measured is not null,
                    ["figures"] = new JsonArray([.. published.Select(p => new JsonObject
                    {
                        ["name"] = p.Key,
                        ["published"] = (double)p.Value!,
                        ["measured"] = measured?.TryGetValue(p.Key, out var value) == true ? Math.Round(value, 4) : null,
                    })]),
                });
            }

            var all = rows.SelectMany(r => r!["figures"]!.AsArray().Select(f => (Row: r, Figure: f!))).ToArray();
            var beyond = all.Where(f => (bool)f.Row["measured"]! && !(Math.Abs((double?)f.Figure["measured"] - (double)f.Figure["published"]! ?? double.NaN) <= limit)).ToArray();
            if (parsed.GetValue(json))
            {
                Console.WriteLine(new JsonObject { ["tolerance"] = limit, ["reproduced"] = beyond.Length == 0, ["bundles"] = rows }.ToJsonString(CliJson.Options));
            }
            else
            {
                var table = new Table().Border(TableBorder.Simple).AddColumns("bundle", "figure", "published", "measured");
                foreach (var (row, figure) in all)
                {
                    table.AddRow(
                        Markup.Escape($"{row["bundle"]} {row["version"]}"), Markup.Escape((string)figure["name"]!), ((double)figure["published"]!).ToString(CultureInfo.InvariantCulture),
                        (double?)figure["measured"] is { } value ? value.ToString(CultureInfo.InvariantCulture) : "not measured: --test-set");
                }

                AnsiConsole.Write(table);
                AnsiConsole.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{beyond.Length} of {all.Length} figures are farther than {limit} from what is published."));
            }

            return beyond.Length > 0 ? 1 : asked is not null && rows.Any(r => !(bool)r!["measured"]!) ? CommandLine.Failed : 0;
        }));
        return command;
    }

    private static async Task<IReadOnlyDictionary<string, double>?> NoduleAsync(Inference client, CancellationToken cancellationToken)
    {
        NoduleSlices.Slice[] slices = [.. NoduleSlices.Draw(Seed, Slices)];
        var answers = new List<float[]>();
        foreach (var chunk in slices.Chunk(BatchSlices))
        {
            var output = await client.RunAsync("image", [chunk.Length, 1, NoduleSlices.Size, NoduleSlices.Size], [.. chunk.SelectMany(s => s.Image)], cancellationToken);
            answers.AddRange(output.Chunk(NoduleSlices.Size * NoduleSlices.Size));
        }

        return NoduleSlices.Figures(slices, answers);
    }

    private static async Task<IReadOnlyDictionary<string, double>?> BodyPartAsync(Inference client, DirectoryInfo? folder, CancellationToken cancellationToken)
    {
        if (folder is null)
        {
            return null;
        }

        var images = await File.ReadAllBytesAsync(Path.Combine(folder.FullName, "mednist_test_x.u8"), cancellationToken);
        var classes = await File.ReadAllBytesAsync(Path.Combine(folder.FullName, "mednist_test_y.u8"), cancellationToken);
        if (classes.Length == 0 || images.Length != classes.Length * BodyPartImage)
        {
            throw new IOException($"{folder.FullName} has {images.Length} bytes of images and {classes.Length} classes; accepted: {BodyPartImage} bytes of image for each class.");
        }

        var right = 0;
        foreach (var chunk in Enumerable.Range(0, classes.Length).Chunk(32))
        {
            var pixels = images.AsSpan(chunk[0] * BodyPartImage, chunk.Length * BodyPartImage).ToArray();
            var scores = await client.RunAsync("input", [chunk.Length, 1, 64, 64], Array.ConvertAll(pixels, p => p / 255f), cancellationToken);
            right += scores.Chunk(scores.Length / chunk.Length).Zip(chunk).Count(pair => Array.IndexOf(pair.First, pair.First.Max()) == classes[pair.Second]);
        }

        return new Dictionary<string, double> { ["accuracy"] = (double)right / classes.Length };
    }

    /// <summary>One version of a model, over the Open Inference Protocol.</summary>
    private sealed class Inference(HttpClient http, string model, string version)
    {
        private bool _loaded;

        public async Task<float[]> RunAsync(string input, int[] shape, float[] values, CancellationToken cancellationToken)
        {
            if (!_loaded)
            {
                await ModelCommand.PostV2Async(http, $"v2/repository/models/{model}/load", "{}", cancellationToken);
                _loaded = true;
            }

            var request = new JsonObject
            {
                ["inputs"] = new JsonArray(new JsonObject
                {
                    ["name"] = input,
                    ["shape"] = new JsonArray([.. shape.Select(d => JsonValue.Create(d))]),
                    ["datatype"] = "FP32",
                    ["data"] = new JsonArray([.. values.Select(v => JsonValue.Create(v))]),
                }),
            };
            var answer = await ModelCommand.PostV2Async(http, $"v2/models/{model}/versions/{version}/infer", request.ToJsonString(), cancellationToken);
            return [.. answer["outputs"]![0]!["data"]!.AsArray().Select(v => (float)v!)];
        }
    }
}
