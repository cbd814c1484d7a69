using System.Buffers.Binary;
using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Net.WebSockets;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.NmtAsr.Audio;
using Yizhan.NmtAsr.Engines;
using Yizhan.Platform.Identity;

namespace Yizhan.Bench;

/// <summary>Who dictates: a process of its own, so that the figures of the service are the service's alone. It takes a line for each run and answers with one.</summary>
internal sealed class SpeechClients : IAsyncDisposable
{
    /// <summary>Samples of a message, as the page of the console sends them.</summary>
    public const int Frame = SpeechStream.SampleRate / 10;

    private const string Name = "speech-clients", Folder = "models/training/mandarin/recordings";

    private readonly Process _process;

    private SpeechClients(Process process) => _process = process;

    /// <summary>Given recordings, one after the other, again and again.</summary>
    public static short[] Sound(double seconds)
    {
        var said = Directory.GetFiles(Folder, "*.wav").Order(StringComparer.Ordinal).SelectMany(f => MemoryMarshal.Cast<byte, short>(File.ReadAllBytes(f).AsSpan(WavWriter.HeaderBytes)).ToArray()).ToArray();
        return [.. Enumerable.Range(0, (int)(seconds * SpeechStream.SampleRate)).Select(i => said[i % said.Length])];
    }

    /// <summary>The command that the process is.</summary>
    public static Command Create()
    {
        var address = new Argument<string>("address");
        var command = new Command(Name, "The clients of 'bench asr'.") { address };
        command.Hidden = true;
        command.SetAction((parsed, cancellationToken) => ServeAsync(new Uri(parsed.GetRequiredValue(address)), cancellationToken));
        return command;
    }

    /// <summary>Starts it beside a node.</summary>
    public static async Task<SpeechClients> StartAsync(WebApplication app, CancellationToken cancellationToken)
    {
        // Of `dotnet Yizhan.Bench.dll` the path is dotnet's.
        var (self, dll) = (Environment.ProcessPath!, typeof(SpeechClients).Assembly.Location);
        var start = new ProcessStartInfo(self, [.. Path.GetFileNameWithoutExtension(self) == "dotnet" ? (string[])[dll] : [], Name, app.Urls.First()]) { RedirectStandardInput = true, RedirectStandardOutput = true };
        var clients = new SpeechClients(Process.Start(start)!);
        await clients._process.StandardInput.WriteLineAsync(app.Services.GetRequiredService<LocalOperator>().Token().AsMemory(), cancellationToken);
        await clients._process.StandardInput.FlushAsync(cancellationToken);
        return clients;
    }

    /// <summary>Lets so many dictate at a time.</summary>
    public async Task<Figures> RunAsync(int streams, double seconds, bool paced, CancellationToken cancellationToken)
    {
        await _process.StandardInput.WriteLineAsync(string.Create(CultureInfo.InvariantCulture, $"{streams} {seconds} {paced}").AsMemory(), cancellationToken);
        await _process.StandardInput.FlushAsync(cancellationToken);
        var answer = (await _process.StandardOutput.ReadLineAsync(cancellationToken) ?? "").Split(' ', 3);
        return answer.Length == 3 ? new Figures(double.Parse(answer[0], CultureInfo.InvariantCulture), double.Parse(answer[1], CultureInfo.InvariantCulture), answer[2])
            : throw new InvalidOperationException("The clients ended early; what they said is above.");
    }

    public async ValueTask DisposeAsync()
    {
        try
        {
            _process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It ended before, and said why.
        }

        await _process.WaitForExitAsync();
        _process.Dispose();
    }

    private static async Task<int> ServeAsync(Uri node, CancellationToken cancellationToken)
    {
        var token = await Console.In.ReadLineAsync(cancellationToken) ?? "";
        while (await Console.In.ReadLineAsync(cancellationToken) is { } line)
        {
            var asked = line.Split(' ');
            var (streams, sound, paced) = (int.Parse(asked[0], CultureInfo.InvariantCulture), Sound(double.Parse(asked[1], CultureInfo.InvariantCulture)), bool.Parse(asked[2]));
            var watch = Stopwatch.StartNew();
            var firsts = await Task.WhenAll(Enumerable.Range(0, streams).Select(_ => Task.Run(() => DictateAsync(node, token, sound, paced, cancellationToken), cancellationToken)));
            var texts = firsts.Select(f => f.Text).Distinct().ToArray();
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{watch.Elapsed.TotalSeconds} {BenchTable.Median(firsts.Select(f => f.FirstMs))} {string.Join(" / ", texts)}"));
        }

        return 0;
    }

    /// <summary>One dictation: milliseconds from its first sample to the first result, and what was heard.</summary>
    private static async Task<(double FirstMs, string Text)> DictateAsync(Uri node, string token, short[] sound, bool paced, CancellationToken cancellationToken)
    {
        using var socket = new ClientWebSocket();
        socket.Options.SetRequestHeader("Authorization", "Bearer " + token);
        await socket.ConnectAsync(new UriBuilder(node) { Scheme = "ws", Path = "/nmt-asr/live" }.Uri, cancellationToken);
        await socket.SendAsync(Encoding.UTF8.GetBytes($$"""{"session":"{{Guid.CreateVersion7(TimeProvider.System.GetUtcNow()):N}}"}"""), WebSocketMessageType.Text, true, cancellationToken);
        var watch = Stopwatch.StartNew();
        var hears = HearAsync(socket, watch, cancellationToken);
        var frame = new byte[8 + Frame * 2];
        for (var at = 0; at < sound.Length; at += Frame)
        {
            var count = Math.Min(Frame, sound.Length - at);
            var due = TimeSpan.FromSeconds((double)(at + count) / SpeechStream.SampleRate) - watch.Elapsed;
            if (paced && due > TimeSpan.Zero)
            {
                await Task.Delay(due, TimeProvider.System, cancellationToken);
            }

            BinaryPrimitives.WriteInt64LittleEndian(frame, at);
            MemoryMarshal.AsBytes(sound.AsSpan(at, count)).CopyTo(frame.AsSpan(8));
            await socket.SendAsync(frame.AsMemory(0, 8 + count * 2), WebSocketMessageType.Binary, true, cancellationToken);
        }

        await socket.SendAsync("finish"u8.ToArray(), WebSocketMessageType.Text, true, cancellationToken);
        return await hears;
    }

    private static async Task<(double FirstMs, string Text)> HearAsync(ClientWebSocket socket, Stopwatch watch, CancellationToken cancellationToken)
    {
        var (buffer, first, done) = (new byte[256 * 1024], 0.0, (string?)null);
        while (await socket.ReceiveAsync(buffer, cancellationToken) is var part && part.MessageType != WebSocketMessageType.Close)
        {
            var message = buffer.AsSpan(0, part.Count);
            if (message.StartsWith("""{"type":"error"""u8))
            {
                throw new InvalidOperationException(Encoding.UTF8.GetString(message));
            }

            if (message.StartsWith("""{"type":"done"""u8))
            {
                done = JsonDocument.Parse(buffer.AsMemory(0, part.Count)).RootElement.GetProperty("text").GetString();
            }

            if (first == 0 && (message.StartsWith("""{"type":"partial"""u8) || message.StartsWith("""{"type":"final"""u8)))
            {
                first = watch.Elapsed.TotalMilliseconds;
            }
        }

        return done is not null ? (first, done) : throw new InvalidOperationException("The service ended a dictation before it was done.");
    }

    /// <summary>What a run took, how long a speaker waited for the first result, and what was heard; different texts have a stroke between.</summary>
    public readonly record struct Figures(double Seconds, double FirstPartialMs, string Text);
}
