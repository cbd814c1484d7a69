using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Text.Json;
using Microsoft.Extensions.Logging;
using Yizhan.Platform.Standby;

namespace Yizhan.Platform.Tests;

/// <summary>The lease of a data folder, and what one that waits for it says. Takeovers of real centres are in tests/EndToEnd.</summary>
[Trait("Clause", "D8.1")]
public sealed class StandbyTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-standby-").FullName;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private string Log => Path.Combine(_folder, "log");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void A_lease_is_one_processs_until_it_ends_and_says_whose()
    {
        using (NodeLease.TryTake(Log))
        {
            Assert.Null(NodeLease.TryTake(Log));
            Assert.Equal(LeaseHolder.Own(), NodeLease.Look(Log).Holder);
        }

        using var next = NodeLease.TryTake(Log);
        Assert.NotNull(next);
    }

    [Fact]
    public void Only_the_very_process_of_the_note_is_ended()
    {
        var own = LeaseHolder.Own();
        Assert.False((own with { Machine = "another" }).TryEnd());
        Assert.False((own with { Processes = "another boot" }).TryEnd());
        Assert.False((own with { Started = own.Started + 1 }).TryEnd());
        Assert.False((own with { Pid = int.MaxValue }).TryEnd());
    }

    [Fact]
    public async Task A_standby_that_stood_still_itself_ends_no_leader()
    {
        Directory.CreateDirectory(Log);
        using var leader = Process.Start("sleep", "600");
        try
        {
            var stat = await File.ReadAllTextAsync($"/proc/{leader.Id}/stat", Cancel);
            var started = long.Parse(stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[19], CultureInfo.InvariantCulture);
            await File.WriteAllBytesAsync(
                Path.Combine(Log, "lease.json"), JsonSerializer.SerializeToUtf8Bytes(LeaseHolder.Own() with { Pid = leader.Id, Started = started }, LeaseJson.Default.LeaseHolder), Cancel);
            var held = new FileStream(Path.Combine(Log, "lease.lock"), FileMode.Create, FileAccess.ReadWrite, FileShare.None);
            var clock = new Halting();
            var leading = new StandbyNode(
                new NodeOptions { DataFolder = _folder, StandbyStallSeconds = 3600 }, $"http://127.0.0.1:{FreePorts.Next()}", logging => logging.ClearProviders(), clock).LeadAsync();
            await Wait.UntilAsync(() => clock.Looks > 10);
            Assert.False(leader.HasExited, "A leader was ended for an hour in which nobody ran.");
            await held.DisposeAsync();
            using var lease = await leading;
            Assert.NotNull(lease);
        }
        finally
        {
            leader.Kill();
        }
    }

    [Fact]
    public async Task Who_waits_lives_and_is_not_ready_and_names_a_leader_that_it_cannot_end()
    {
        Directory.CreateDirectory(Log);
        await File.WriteAllBytesAsync(
            Path.Combine(Log, "lease.json"), JsonSerializer.SerializeToUtf8Bytes(new LeaseHolder("other-machine", "another boot", 4711, 1), LeaseJson.Default.LeaseHolder), Cancel);
        var held = new FileStream(Path.Combine(Log, "lease.lock"), FileMode.Create, FileAccess.ReadWrite, FileShare.None);
        var url = new Uri($"http://127.0.0.1:{FreePorts.Next()}");
        var leading = new StandbyNode(new NodeOptions { DataFolder = _folder, StandbyStallSeconds = 1 }, url.ToString(), logging => logging.ClearProviders(), TimeProvider.System).LeadAsync();
        using var http = new HttpClient { BaseAddress = url };
        var said = "";
        await Wait.UntilAsync(async () =>
        {
            try
            {
                using var ready = await http.GetAsync("/health/ready", Cancel);
                Assert.Equal(HttpStatusCode.ServiceUnavailable, ready.StatusCode);
                return (said = await ready.Content.ReadAsStringAsync(Cancel)).Contains("cannot be ended from here", StringComparison.Ordinal);
            }
            catch (HttpRequestException)
            {
                return false;
            }
        });
        Assert.Contains("other-machine pid 4711", said, StringComparison.Ordinal);
        Assert.Equal("Standby", await http.GetStringAsync("/health/live", Cancel));
        using (var other = await http.GetAsync("/fleet/sites", Cancel))
        {
            Assert.Equal(HttpStatusCode.ServiceUnavailable, other.StatusCode);
        }

        await held.DisposeAsync();
        using var lease = await leading;
        Assert.NotNull(lease);
    }

    /// <summary>A machine that is halted for two hours between any two looks at its clock.</summary>
    private sealed class Halting : TimeProvider
    {
        private long _looks;

        public long Looks => Interlocked.Read(ref _looks);

        public override long GetTimestamp() => Interlocked.Increment(ref _looks) * TimestampFrequency * 7200;
    }
}
