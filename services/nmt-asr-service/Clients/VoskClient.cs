using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using Yizhan.NmtAsr.Engines;
using Yizhan.NmtAsr.Live;

namespace Yizhan.NmtAsr.Clients;

/// <summary>
/// Vosk's server: an optional <c>{"config": …}</c>, then PCM of 16 bits, each message of which has one answer, <c>{"partial": …}</c> or <c>{"result": …, "text": …}</c>;
/// <c>{"eof" : 1}</c> ends the stream, <c>{"reset" : 1}</c> only what is being said. Without a config the rate is 8000, as with that server.
/// </summary>
internal static class VoskClient
{
    private const int DefaultRate = 8000;

    public static async Task RunAsync(Talk talk, ClientSession session)
    {
        var (words, alternatives, partial, warnings) = (true, 0, "", new JsonArray());
        while (await talk.ReceiveAsync() is { } message)
        {
            if (message.Text is null)
            {
                if (!session.IsOpen)
                {
                    session.Open(DefaultRate, null, [], partials: true);
                }

                var results = session.Accept(MemoryMarshal.Cast<byte, short>(message.Binary.Span));
                var finals = results.Where(r => r.IsFinal).ToArray();
                partial = results is [.., { IsFinal: false } last] ? last.Text : finals.Length > 0 ? "" : partial;
                await talk.SendAsync(finals.Length > 0 ? Result(finals, words, alternatives, warnings) : new JsonObject { ["partial"] = partial });
                continue;
            }

            var asked = JsonNode.Parse(message.Text) as JsonObject ?? throw new JsonException();
            if (asked["config"] is JsonObject config)
            {
                var phrases = config["phrase_list"] is JsonArray list ? list.Select(p => p?.ToString() ?? "").Where(p => p.Length > 0).ToArray() : [];
                (words, alternatives) = (Flag(config["words"], words), (int)Number(config["max_alternatives"], 0));
                session.Open((int)Number(config["sample_rate"], DefaultRate), config["model"]?.ToString(), phrases, partials: true);
                warnings = session.Ignored(phrases).Count > 0 ? ["phrase_list-ignored"] : [];
            }
            else if (asked.ContainsKey("eof") || asked.ContainsKey("reset"))
            {
                partial = "";
                await talk.SendAsync(Result([.. session.Finish()], words, alternatives, warnings));
                if (asked.ContainsKey("eof"))
                {
                    await talk.CloseAsync();
                    return;
                }
            }
            else
            {
                throw new JsonException();
            }
        }
    }

    private static JsonObject Result(SpeechResult[] finals, bool words, int alternatives, JsonArray warnings)
    {
        var answer = new JsonObject();
        if (words && finals.Length > 0)
        {
            answer["result"] = new JsonArray([.. finals.SelectMany(f => f.Words).Select(w => new JsonObject
            {
                ["conf"] = Math.Round(w.Confidence, 6), ["start"] = w.StartMs / 1000.0, ["end"] = w.EndMs / 1000.0, ["word"] = w.Text,
            })]);
        }

        answer["text"] = string.Join(' ', finals.Select(f => f.Text));
        if (alternatives > 0)
        {
            // One hypothesis is known: what Vosk calls its alternatives has one.
            answer["confidence"] = finals.Length == 0 ? 0 : Math.Round(finals.Average(f => f.Confidence), 6);
            answer = new JsonObject { ["alternatives"] = new JsonArray(answer) };
        }

        if (warnings.Count > 0)
        {
            answer["warnings"] = warnings.DeepClone();
        }

        return answer;
    }

    private static double Number(JsonNode? node, double otherwise) => node is JsonValue value && value.TryGetValue<double>(out var number) && number is > -1e6 and < 1e6 ? number : otherwise;

    private static bool Flag(JsonNode? node, bool otherwise) => node is JsonValue value ? value.GetValueKind() switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        JsonValueKind.Number => Number(node, 1) != 0,
        _ => otherwise,
    } : otherwise;
}
