using System.Diagnostics;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Platform.Identity;

namespace Yizhan.NmtAsr.Tests;

/// <summary>A client that others wrote (npm: <c>funasr-client</c>, pinned), as it is, against a real node.</summary>
[Trait("Clause", "S4")]
public sealed class FunAsrPeerTests() : NodeTest("--nmt-asr:dialects:0=cmn")
{
    [Theory]
    [InlineData("2pass", "2pass-offline")]
    [InlineData("online", "online")]
    [InlineData("offline", "offline")]
    public async Task FunASR_s_client_is_told_what_it_waits_for(string mode, string last)
    {
        var peers = Path.Combine(Given.Root, "services", "nmt-asr-service", "tests", "peers");
        Assert.SkipUnless(Directory.Exists(Path.Combine(peers, "node_modules", "funasr-client")), "funasr-client is not installed: npm ci --ignore-scripts in tests/peers.");
        var wav = Path.Combine(Given.Root, "models", "training", "mandarin", "recordings", "clean-012.wav");
        var start = new ProcessStartInfo("node", ["funasr.mjs", new UriBuilder(App.Urls.First()) { Scheme = "ws", Path = "/nmt-asr/funasr" }.ToString(), mode, wav])
        {
            WorkingDirectory = peers,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["TOKEN"] = App.Services.GetRequiredService<LocalOperator>().Token();
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync(Cancel);
        var told = (await process.StandardOutput.ReadToEndAsync(Cancel)).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => JsonDocument.Parse(l).RootElement).ToArray();
        await process.WaitForExitAsync(Cancel);
        Assert.True(process.ExitCode == 0, await errors);
        Assert.Equal("", await errors);

        // The last message and no other ends its wait; a second pass has the sentence whole, online what is new since the one before.
        Assert.All(told, m => Assert.Equal("visit", m.GetProperty("wav_name").GetString()));
        Assert.Equal(Enumerable.Repeat(false, told.Length - 1).Append(true), told.Select(m => m.GetProperty("is_final").GetBoolean()));
        Assert.Equal(last, told[^1].GetProperty("mode").GetString());
        var sentence = string.Concat(told.Where(m => m.GetProperty("mode").GetString() == last).Select(m => m.GetProperty("text").GetString()));
        Assert.Equal("六周后复查", sentence);
        if (mode != "online")
        {
            // It reads the times itself, from text that holds JSON.
            var times = told.Single(m => m.GetProperty("mode").GetString() == last && m.GetProperty("text").GetString() != "").GetProperty("timestamp").EnumerateArray().ToArray();
            Assert.NotEmpty(times);
            Assert.All(times, t => Assert.True(t[0].GetInt64() < t[1].GetInt64()));
        }
    }
}
