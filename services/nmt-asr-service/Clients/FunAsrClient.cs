using System.Globalization;
using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using Yizhan.NmtAsr.Audio;
using Yizhan.NmtAsr.Engines;
using Yizhan.NmtAsr.Live;

namespace Yizhan.NmtAsr.Clients;

/// <summary>
/// FunASR's runtime: a first message with <c>mode</c> (offline, online, 2pass), rate and hot words, PCM of 16 bits, <c>{"is_speaking": false}</c> at the end. <c>2pass-online</c> messages hold
/// what is new since the last one; a <c>2pass-offline</c> message holds the whole sentence, in place of them. The last message of all, and no other, is <c>is_final</c>.
/// </summary>
internal static class FunAsrClient
{
    public static async Task RunAsync(Talk talk, ClientSession session)
    {
        if (await talk.ReceiveAsync() is not { Text: { } first } || JsonNode.Parse(first) is not JsonObject start)
        {
            throw new JsonException();
        }

        var (mode, name, format) = (start["mode"]?.ToString() ?? "2pass", start["wav_name"]?.ToString() ?? "", start["wav_format"]?.ToString() ?? "pcm");
        if (mode is not ("2pass" or "online" or "offline") || format != "pcm")
        {
            throw new AudioRefusedException($"mode '{Short(mode)}', wav_format '{Short(format)}'; accepted: 2pass, online, offline; pcm.");
        }

        session.Open(start["audio_fs"] is JsonValue rate && rate.TryGetValue<int>(out var fs) ? fs : SpeechStream.SampleRate, null, HotWords(start["hotwords"]), partials: mode != "offline");
        var (said, finals) = ("", new List<SpeechResult>());

        async Task TellAsync(IReadOnlyList<SpeechResult> results, bool ended)
        {
            for (var i = 0; i < results.Count; i++)
            {
                var result = results[i];

                // What the first pass has sent cannot be taken back; the second pass replaces it.
                if (mode != "offline" && (!result.IsFinal || mode == "online") && result.Text.Length > said.Length && result.Text.StartsWith(said, StringComparison.Ordinal))
                {
                    await talk.SendAsync(Message(mode == "online" ? "online" : "2pass-online", result.Text[said.Length..], [], name, false));
                    said = result.Text;
                }

                if (result.IsFinal)
                {
                    said = "";
                    finals.Add(result);
                    if (mode == "2pass")
                    {
                        await talk.SendAsync(Message("2pass-offline", result.Text, [result], name, ended && i == results.Count - 1));
                        finals.Clear();
                    }
                    else if (mode == "online")
                    {
                        finals.Clear();
                    }
                }
            }

            if (ended && (mode != "2pass" || results.Count == 0))
            {
                await talk.SendAsync(Message(mode == "2pass" ? "2pass-offline" : mode, string.Join(' ', finals.Select(f => f.Text)), finals, name, true));
                finals.Clear();
            }
        }

        while (await talk.ReceiveAsync() is { } message)
        {
            if (message.Text is null)
            {
                if (message.Binary.Length % 2 != 0)
                {
                    throw new AudioRefusedException($"A message has {message.Binary.Length} bytes; a sample has 2.");
                }

                await TellAsync(session.Accept(MemoryMarshal.Cast<byte, short>(message.Binary.Span)), ended: false);
            }
            else if (JsonNode.Parse(message.Text) is JsonObject later)
            {
                name = later["wav_name"]?.ToString() ?? name;
                if (later["is_speaking"] is JsonValue speaking && speaking.GetValueKind() == JsonValueKind.False)
                {
                    await TellAsync(session.Finish(), ended: true);
                }
            }
        }
    }

    private static JsonObject Message(string mode, string text, List<SpeechResult> results, string name, bool final)
    {
        var message = new JsonObject { ["mode"] = mode, ["text"] = text, ["wav_name"] = name, ["is_final"] = final };
        if (results.Count > 0)
        {
            message["timestamp"] = Times(results.SelectMany(r => r.Words));
            message["stamp_sents"] = new JsonArray([.. results.Select(r => new JsonObject
            {
                ["text_seg"] = string.Join(' ', r.Words.Select(w => w.Text)), ["punc"] = "", ["start"] = r.StartMs, ["end"] = r.EndMs, ["ts_list"] = JsonNode.Parse(Times(r.Words)),
            })]);
        }

        return message;
    }

    private static string Times(IEnumerable<RecognisedWord> words) => $"[{string.Join(',', words.Select(w => string.Create(CultureInfo.InvariantCulture, $"[{w.StartMs},{w.EndMs}]")))}]";

    /// <summary>A string that holds JSON, <c>{"word": weight}</c>, or words with spaces between, as older clients send.</summary>
    private static IEnumerable<string> HotWords(JsonNode? node)
    {
        var text = node?.ToString() ?? "";
        return text.StartsWith('{') && JsonNode.Parse(text) is JsonObject words ? words.Select(w => w.Key) : text.Split(' ', StringSplitOptions.RemoveEmptyEntries);
    }

    private static string Short(string text) => string.Concat(text.Where(c => !char.IsControl(c)).Take(32));
}
