using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using Yizhan.NmtAsr.Audio;
using Yizhan.NmtAsr.Engines;
using Yizhan.NmtAsr.Live;

namespace Yizhan.NmtAsr.Clients;

/// <summary>
/// sherpa-onnx's servers. Online: binary messages of 32-bit floats at 16 kHz, text <c>Done</c> ends; answers are JSON with segment and <c>is_final</c>, at last <c>Done!</c>. Offline: sample
/// rate and number of bytes (int32, little-endian), then the floats, in messages of any size; one answer for each recording, then the next; <c>Done</c> ends.
/// </summary>
internal static class SherpaClient
{
    private const int HeaderBytes = 8, MaxRecordingBytes = 16_000 * 4 * 60 * 60;

    public static async Task OnlineAsync(Talk talk, ClientSession session)
    {
        session.Open(SpeechStream.SampleRate, null, [], partials: true);
        while (await talk.ReceiveAsync() is { } message)
        {
            if (message.Text is "Done")
            {
                var last = session.Finish();
                foreach (var (result, i) in last.Select((r, i) => (r, i)))
                {
                    await talk.SendAsync(Answer(result, i == last.Count - 1));
                }

                await talk.SendAsync("Done!"u8.ToArray());
                await talk.CloseAsync();
                return;
            }

            foreach (var result in session.Accept(Samples(message.Text is null ? message.Binary.Span : throw new AudioRefusedException("A text message is 'Done'; audio is binary."))))
            {
                await talk.SendAsync(Answer(result, false));
            }
        }
    }

    public static async Task OfflineAsync(Talk talk, ClientSession session)
    {
        var (header, have, left, odd) = (new byte[HeaderBytes], 0, 0, new List<byte>());
        var finals = new List<SpeechResult>();
        while (await talk.ReceiveAsync() is { } message)
        {
            if (message.Text is not null)
            {
                await talk.CloseAsync();
                return;
            }

            // Parts of any size: of the header, of a sample, or of two recordings.
            for (var part = message.Binary; part.Length > 0;)
            {
                if (have < HeaderBytes)
                {
                    var taken = Math.Min(HeaderBytes - have, part.Length);
                    part.Span[..taken].CopyTo(header.AsSpan(have));
                    (have, part) = (have + taken, part[taken..]);
                    if (have < HeaderBytes)
                    {
                        break;
                    }

                    left = BinaryPrimitives.ReadInt32LittleEndian(header.AsSpan(4));
                    if (left is < 0 or > MaxRecordingBytes || left % 4 != 0)
                    {
                        throw new AudioRefusedException($"A recording of {left} bytes; accepted: 0 to {MaxRecordingBytes}, 4 for each sample.");
                    }

                    session.Open(BinaryPrimitives.ReadInt32LittleEndian(header), null, [], partials: false);
                }

                var audio = part[..Math.Min(left, part.Length)];
                (left, part) = (left - audio.Length, part[audio.Length..]);
                odd.AddRange(audio.Span);
                var whole = odd.Count / 4 * 4;
                finals.AddRange(session.Accept(Samples(CollectionsMarshal.AsSpan(odd)[..whole])).Where(r => r.IsFinal));
                odd.RemoveRange(0, whole);
                if (left == 0)
                {
                    finals.AddRange(session.Finish());
                    await talk.SendAsync(Answer(new SpeechResult(
                        true, 0, string.Join(' ', finals.Select(f => f.Text)), [.. finals.SelectMany(f => f.Words)], 0, finals.Count == 0 ? 0 : finals[^1].EndMs), true));
                    finals.Clear();
                    have = 0;
                }
            }
        }
    }

    private static short[] Samples(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length % 4 != 0)
        {
            throw new AudioRefusedException($"A message has {bytes.Length} bytes; a sample is a float of 4.");
        }

        var floats = MemoryMarshal.Cast<byte, float>(bytes);
        var samples = new short[floats.Length];
        for (var i = 0; i < samples.Length; i++)
        {
            samples[i] = float.IsFinite(floats[i]) ? (short)Math.Clamp(floats[i] * 32768f, short.MinValue, short.MaxValue) : (short)0;
        }

        return samples;
    }

    private static JsonObject Answer(SpeechResult result, bool last) => new()
    {
        ["text"] = result.Text,
        ["tokens"] = new JsonArray([.. result.Words.Select(w => (JsonNode)w.Text)]),
        ["timestamps"] = new JsonArray([.. result.Words.Select(w => (JsonNode)((w.StartMs - result.StartMs) / 1000.0))]),
        ["ys_probs"] = new JsonArray([.. result.Words.Select(w => (JsonNode)Math.Round(Math.Log(Math.Max(w.Confidence, 1e-6)), 4))]),
        ["lm_probs"] = new JsonArray(),
        ["context_scores"] = new JsonArray(),
        ["segment"] = result.Segment,
        ["words"] = new JsonArray([.. result.Words.Select(w => (JsonNode)w.Text)]),
        ["start_time"] = result.StartMs / 1000.0,
        ["is_final"] = result.IsFinal,
        ["is_eof"] = last,
    };
}
