using System.Buffers.Binary;
using System.Net.Http.Json;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Platform.Identity;

namespace Yizhan.NmtAsr.Tests;

/// <summary>A client of live dictation.</summary>
internal static class LiveClient
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public static async Task<ClientWebSocket> ConnectAsync(WebApplication app, string path = "/nmt-asr/live", string query = "", string? protocol = null)
    {
        var socket = new ClientWebSocket();
        if (protocol is not null)
        {
            socket.Options.AddSubProtocol(protocol);
        }

        socket.Options.SetRequestHeader("Authorization", "Bearer " + app.Services.GetRequiredService<LocalOperator>().Token());
        await socket.ConnectAsync(new UriBuilder(app.Urls.First()) { Scheme = "ws", Path = path, Query = query }.Uri, Cancel);
        return socket;
    }

    public static Task SendTextAsync(ClientWebSocket socket, string text) => socket.SendAsync(Encoding.UTF8.GetBytes(text), WebSocketMessageType.Text, true, Cancel);

    public static async Task SendAudioAsync(ClientWebSocket socket, byte[] wav, int from, int to)
    {
        for (var at = from; at < to; at += 1600)
        {
            var count = Math.Min(1600, to - at);
            var frame = new byte[8 + count * 2];
            BinaryPrimitives.WriteInt64LittleEndian(frame, at);
            wav.AsSpan(44 + at * 2, count * 2).CopyTo(frame.AsSpan(8));
            await socket.SendAsync(frame, WebSocketMessageType.Binary, true, Cancel);
        }
    }

    /// <summary>The next message of a type, or the next one at all.</summary>
    public static async Task<JsonElement> NextAsync(ClientWebSocket socket, string? type)
    {
        while (true)
        {
            var text = await TextAsync(socket);
            Assert.NotNull(text);
            var message = JsonDocument.Parse(text).RootElement.Clone();
            if (type is null || message.GetProperty("type").GetString() == type)
            {
                return message;
            }

            Assert.NotEqual("error", message.GetProperty("type").GetString());
        }
    }

    /// <summary>The next message; null when the service closes.</summary>
    public static async Task<string?> TextAsync(ClientWebSocket socket)
    {
        var (buffer, length) = (new byte[256 * 1024], 0);
        ValueWebSocketReceiveResult part;
        do
        {
            part = await socket.ReceiveAsync(buffer.AsMemory(length), Cancel);
            length += part.Count;
        }
        while (!part.EndOfMessage);
        return part.MessageType == WebSocketMessageType.Close ? null : Encoding.UTF8.GetString(buffer, 0, length);
    }

    /// <summary>Dictates a recording from beginning to end and makes a note of what was said; the note.</summary>
    public static async Task<JsonElement> NoteAsync(WebApplication app, string session, byte[] wav, string said, string dialect = "en")
    {
        using (var socket = await ConnectAsync(app))
        {
            await SendTextAsync(socket, $$"""{"session":"{{session}}","dialect":"{{dialect}}"}""");
            _ = await NextAsync(socket, "ready");
            await SendAudioAsync(socket, wav, 0, (wav.Length - 44) / 2);
            await SendTextAsync(socket, "finish");
            _ = await NextAsync(socket, "done");
        }

        using var http = Operator.Client(app, "/nmt-asr/");
        using var made = await http.PostAsJsonAsync($"dictations/{session}/note", new { patientId = "P1", title = "Note", text = said }, Cancel);
        Assert.Equal(201, (int)made.StatusCode);
        return await made.Content.ReadFromJsonAsync<JsonElement>(Cancel);
    }
}
