using System.CommandLine;
using System.Net.Http.Json;
using System.Text.Json.Nodes;

namespace Yizhan.Cli;

/// <summary><c>yizhan translate</c>: Chinese and English at a node, with what may have been lost.</summary>
internal static class TranslateCommand
{
    public static Command Create()
    {
        var text = new Argument<string?>("text") { Description = "What to translate; without it, standard input.", Arity = ArgumentArity.ZeroOrOne };
        var source = new Option<string>("--source") { Description = "zh, en or auto.", DefaultValueFactory = _ => "auto" };
        var target = new Option<string>("--target") { Description = "zh or en.", Required = true };
        var node = new Option<Uri>("--node") { Description = "Web address of the node.", DefaultValueFactory = _ => new Uri("http://127.0.0.1:8081/"), CustomParser = NodeClient.Address };
        var json = new Option<bool>("--json") { Description = "The last line of the output is one JSON object." };
        var command = new Command("translate", """
            Translates a text at a node. What people have translated comes first, then a small model: a draft. A sentence that may have lost a number, a
            unit, a negation, a side or a term is marked; exit code 1 when one is.

            Examples:
              yizhan translate "患者胸痛3天" --target en
              yizhan translate --source zh --target en < note.txt
              yizhan translate "您对青霉素过敏吗" --target en --json | tail -n 1 | jq '.sentences[] | {origin, problems}'
            """) { text, source, target, node, json };
        command.SetAction((parsed, cancellationToken) => NodeClient.RunAsync(parsed.GetRequiredValue(node), async http =>
        {
            var q = parsed.GetValue(text) ?? await Console.In.ReadToEndAsync(cancellationToken);
            using var answer = await http.PostAsJsonAsync(
                "nmt-asr/translate", new JsonObject { ["q"] = q, ["source"] = parsed.GetValue(source), ["target"] = parsed.GetValue(target) }, cancellationToken);
            var body = JsonNode.Parse(await answer.Content.ReadAsStringAsync(cancellationToken));
            if ((string?)body?["error"] is { } problem)
            {
                await Console.Error.WriteLineAsync($"yizhan: {problem}");
                return CommandLine.Failed;
            }

            await NodeClient.ThrowIfRefusedAsync(answer, cancellationToken);
            Console.WriteLine(parsed.GetValue(json) ? body!.ToJsonString(CliJson.Options) : (string?)body!["translatedText"]);
            return (int)body!["unverified"]! > 0 ? CommandLine.Failed : CommandLine.Ok;
        }));
        return command;
    }
}
