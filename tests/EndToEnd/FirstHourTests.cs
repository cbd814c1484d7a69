using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace Yizhan.EndToEnd.Tests;

/// <summary>What somebody meets who has just got it: <c>yizhan up</c> where a port is taken or a folder cannot be written, in another language, and its end.</summary>
public sealed class FirstHourTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_port_that_is_taken_is_named_before_anything_is_written()
    {
        // Another node may listen there, and would answer the health check in the place of the one that cannot start.
        using var other = new TcpListener(IPAddress.Loopback, 8081);
        try
        {
            other.Start();
        }
        catch (SocketException)
        {
            // Somebody has it already, which is as good.
        }

        using var folder = new TemporaryFolder();
        var outcome = await YizhanCommand.RunAsync(["up", "--data", folder.In("up"), "--json"]);
        Assert.Equal(1, outcome.ExitCode);
        Assert.Contains("port 8081 of 127.0.0.1 is taken", outcome.Json.GetProperty("error").GetString(), StringComparison.Ordinal);
        Assert.Contains("--free-ports", outcome.Error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(folder.In("up")));
    }

    [Theory]
    [InlineData("/proc/yizhan", "/proc/yizhan")]
    [InlineData("/dev/null/up", "/dev/null")]
    public async Task A_folder_that_cannot_be_written_is_named(string data, string named)
    {
        var outcome = await YizhanCommand.RunAsync(["up", "--data", data, "--free-ports", "--json"], new Dictionary<string, string> { ["LANG"] = "zh_CN.UTF-8", ["LC_ALL"] = "zh_CN.UTF-8" });
        Assert.Equal(1, outcome.ExitCode);
        Assert.Contains(named, outcome.Json.GetProperty("error").GetString(), StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", outcome.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("PACS@10.0.0.5")]
    [InlineData("PACS@10.0.0.5:port")]
    [InlineData("A_TITLE_OF_MORE_THAN_16")]
    [InlineData("CT\nnode: {}")]
    public async Task A_peer_that_is_none_is_named(string peer)
    {
        using var folder = new TemporaryFolder();
        var outcome = await YizhanCommand.RunAsync(["up", "--data", folder.In("up"), "--free-ports", "--peer", peer]);
        Assert.Equal(2, outcome.ExitCode);
        Assert.Contains($"'{peer}' is neither an AE title", outcome.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task It_comes_up_in_a_folder_with_a_difficult_name_and_ctrl_c_ends_its_nodes_too()
    {
        using var folder = new TemporaryFolder();
        var data = folder.In("数据: it's # here");
        using var process = Process.Start(new ProcessStartInfo("dotnet", [YizhanCommand.Program, "up", "--data", data, "--free-ports", "--peer", "CT 1", "--json"])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        try
        {
            var said = process.StandardError.ReadToEndAsync(Cancel);
            using var up = JsonDocument.Parse(await process.StandardOutput.ReadLineAsync(Cancel) ?? await said);
            var centre = up.RootElement.GetProperty("centre").GetString()!;
            using var http = new HttpClient();
            Assert.Equal("Healthy", await http.GetStringAsync(new Uri(new Uri(centre), "healthz"), Cancel));
            Assert.True(Directory.Exists(Path.Combine(data, "centre")));

            Assert.Equal(0, Kill(process.Id, 2));
            await process.WaitForExitAsync(Cancel);
            Assert.Equal(0, process.ExitCode);
            await Assert.ThrowsAsync<HttpRequestException>(() => http.GetStringAsync(new Uri(new Uri(centre), "healthz"), Cancel));
        }
        finally
        {
            if (!process.HasExited)
            {
                process.Kill(entireProcessTree: true);
            }
        }
    }

    [DllImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static extern int Kill(int pid, int signal);
}
