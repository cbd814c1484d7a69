using System.Buffers.Binary;
using System.Net.Http.Json;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json;
using Yizhan.AlertBridge.Tests;
using Yizhan.Drills;
using Yizhan.Platform.Identity;

namespace Yizhan.EndToEnd.Tests;

/// <summary>Somebody who dictates at a site: given recordings, over the site's own socket.</summary>
internal static class Dictation
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>Dictates the given recordings one after another, and makes a note of it in which everything is as it was read.</summary>
    public static async Task MakeAsync(LocalSite site, string session, int repeated, int noise)
    {
        var given = Path.Combine(AlertingStack.Root(), "..", "shared", "models", "wav", "librivox");
        Assert.SkipUnless(Directory.Exists(given) && File.Exists("/usr/share/pocketsphinx/model/en-us/en-us/mdef"), "the given recordings or Debian's model (pocketsphinx-en-us) are not here.");
        var lines = File.ReadLines(Path.Combine(given, "transcription")).Select(l => l.Replace("<s>", "", StringComparison.Ordinal).Replace("</s>", "", StringComparison.Ordinal).Trim().TrimEnd(')').Split('(')).ToList();
        var samples = new List<short>();
        var random = new Random(11);
        foreach (var line in Enumerable.Repeat(lines, repeated).SelectMany(l => l))
        {
            var wav = File.ReadAllBytes(Path.Combine(given, line[1] + ".wav"));
            samples.AddRange(Enumerable.Range(0, (wav.Length - 44) / 2).Select(i =>
                (short)Math.Clamp(BinaryPrimitives.ReadInt16LittleEndian(wav.AsSpan(44 + i * 2)) + (int)((random.NextDouble() - 0.5) * noise), short.MinValue, short.MaxValue)));
            samples.AddRange(new short[16_000]);
        }

        using var socket = new ClientWebSocket();
        socket.Options.SetRequestHeader("Authorization", "Bearer " + OperatorTokenHandler.Read(LocalOperator.PathIn(site.EdgeFolder)));
        await socket.ConnectAsync(new UriBuilder(site.Ports.EdgeWeb) { Scheme = "ws", Path = "/nmt-asr/live" }.Uri, Cancel);
        await SendAsync(socket, $$"""{"session":"{{session}}","dialect":"en"}""");
        var done = UntilDoneAsync(socket);
        for (var at = 0; at < samples.Count; at += 8000)
        {
            var part = samples.GetRange(at, Math.Min(8000, samples.Count - at));
            var frame = new byte[8 + part.Count * 2];
            BinaryPrimitives.WriteInt64LittleEndian(frame, at);
            for (var i = 0; i < part.Count; i++)
            {
                BinaryPrimitives.WriteInt16LittleEndian(frame.AsSpan(8 + i * 2), part[i]);
            }

            await socket.SendAsync(frame, WebSocketMessageType.Binary, true, Cancel);
        }

        await SendAsync(socket, "finish");
        await done;
        using var http = site.EdgeClient();
        using var note = await http.PostAsJsonAsync(
            $"/nmt-asr/dictations/{session}/note", new { patientId = "SYN0007000", title = "Progress note", text = string.Join(". ", Enumerable.Repeat(lines, repeated).SelectMany(l => l).Select(l => l[0].Trim())) }, Cancel);
        var answer = await note.Content.ReadFromJsonAsync<JsonElement>(Cancel);
        Assert.True(note.IsSuccessStatusCode, answer.ToString());
        TestContext.Current.SendDiagnosticMessage("{0}: {1}", session, answer.ToString());
    }

    private static Task SendAsync(ClientWebSocket socket, string text) => socket.SendAsync(Encoding.UTF8.GetBytes(text), WebSocketMessageType.Text, true, Cancel);

    private static async Task UntilDoneAsync(ClientWebSocket socket)
    {
        var buffer = new byte[256 * 1024];
        for (var length = 0; ;)
        {
            var part = await socket.ReceiveAsync(buffer.AsMemory(length), Cancel);
            Assert.NotEqual(WebSocketMessageType.Close, part.MessageType);
            length += part.Count;
            if (part.EndOfMessage)
            {
                var type = JsonDocument.Parse(buffer.AsMemory(0, length)).RootElement.GetProperty("type").GetString();
                Assert.True(type != "error", Encoding.UTF8.GetString(buffer, 0, length));
                if (type == "done")
                {
                    return;
                }

                length = 0;
            }
        }
    }
}
