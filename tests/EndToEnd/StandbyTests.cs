using System.Diagnostics;
using System.Globalization;
using System.Net;
using Yizhan.Drills;
using Yizhan.Platform.Identity;
using Yizhan.Samples;

namespace Yizhan.EndToEnd.Tests;

/// <summary>Two centres on one data folder and one PostgreSQL: one leads, and the other goes on when it is killed or stands still. The site sends on, and nothing is lost or there twice.</summary>
[Trait("Clause", "D3.5")]
[Trait("Clause", "D8.1")]
public sealed class StandbyTests(ITestOutputHelper output)
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("KILL")]
    [InlineData("STOP")]
    public async Task A_standby_takes_over_in_the_middle_of_intake_and_the_old_leader_writes_nothing_more(string signal)
    {
        Assert.SkipWhen(LocalPostgres.Programs is null, "PostgreSQL 15 is not installed: apt-get install postgresql");
        using var folder = new TemporaryFolder();
        await using var postgres = await LocalPostgres.StartAsync(Cancel);
        string[] settings =
        [
            "--node:standby=true", $"--node:standbyStallSeconds={(signal == "STOP" ? 15 : 600)}", "--storage:store=postgres", $"--storage:postgresConnectionFile={folder.Write("connection", postgres.ConnectionString)}",
            "--storage:freeFloorBytes=0",
        ];
        var ledger = new Ledger();
        CtStudy.WriteFiles(folder.In("input"), 60, 2, 20261123);
        var files = InstanceFile.ReadFolder(folder.In("input"), ledger);
        ledger.CountSent(files.Count);
        var site = LocalSite.Prepare(folder.In("nodes"), LocalSite.DcmtkPeers, LocalPorts.Free().WithoutRelay());
        var other = LocalPorts.Free();
        using var probe = new HttpClient { BaseAddress = other.CentreWeb };

        await using var leader = await site.StartCentreAsync(settings, Cancel);
        await using var standby = await site.StartCentreElsewhereAsync(site.CentreFolder, other, settings, Cancel);
        Assert.Equal((HttpStatusCode.OK, HttpStatusCode.ServiceUnavailable), (await AskAsync(probe, "/health/live"), await AskAsync(probe, "/health/ready")));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, await AskAsync(probe, "/fleet/sites"));
        await using var edge = await site.StartEdgeAsync(
            [$"--station:centreAddresses:0=127.0.0.1:{other.CentreLink}", "--station:stallSeconds=10", "--station:probeMs=200", "--storage:freeFloorBytes=0"], Cancel);

        var scanner = new Scanner(site.Ports.Dicom, ledger);
        var half = files.Take(files.Count / 2).ToList();
        var sending = scanner.SendAllAsync(half, Cancel);
        Task rest;
        using (var view = new CentreView(site))
        {
            await Wait.UntilAsync(async () =>
            {
                await view.RefreshAsync(Cancel);
                return view.Instances.Count >= 3;
            });

            // However long it took to see these: there is more on its way when the leader goes.
            rest = scanner.SendAllAsync([.. files.Except(half)], Cancel);
            output.WriteLine($"figures: {view.Instances.Count} of {files.Count} instances at the centre when its leader got SIG{signal}");
        }

        await SignalAsync(leader.Process.Id, signal);
        var lost = Stopwatch.GetTimestamp();
        await Wait.UntilAsync(async () => await AskAsync(probe, "/health/ready") == HttpStatusCode.OK);
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"figures: the standby was ready after {Stopwatch.GetElapsedTime(lost).TotalSeconds:0.0} s"));
        await Task.WhenAll(sending, rest);
        Assert.Equal(files.Count, ledger.Acknowledged.Count);
        using var there = new CentreView(OperatorTokenHandler.Client(other.CentreWeb, site.CentreFolder));
        await there.WaitForAsync(ledger.Acknowledged, TimeSpan.FromMinutes(3), Cancel);

        // Who only stood still will not wake up: it had the lease of the folder, so it was ended before anybody else wrote.
        Assert.Equal(137, await leader.WaitForExitAsync(Cancel).WaitAsync(TimeSpan.FromMinutes(1), Cancel));
        var verdict = ledger.Compare(there.Instances, await there.HashAllAsync(ledger.Acknowledged, Cancel));
        Assert.Equal((files.Count, files.Count, 0, 0), (verdict.Acknowledged, verdict.Arrived, verdict.Duplicates, verdict.Lost));

        // The old one comes back and waits in turn; it leads again when the other one stops in order.
        await using var again = await site.StartCentreAsync(settings, Cancel);
        using var first = new HttpClient { BaseAddress = site.Ports.CentreWeb };
        Assert.Equal(HttpStatusCode.ServiceUnavailable, await AskAsync(first, "/health/ready"));
        Assert.Equal(HttpStatusCode.OK, await AskAsync(probe, "/health/ready"));
        await standby.DisposeAsync();
        await Wait.UntilAsync(async () => await AskAsync(first, "/health/ready") == HttpStatusCode.OK);
        using var last = new CentreView(site);
        await last.RefreshAsync(Cancel);
        Assert.Equal(files.Count, last.Instances.Count);
    }

    private static async Task<HttpStatusCode?> AskAsync(HttpClient http, string path)
    {
        try
        {
            using var answer = await http.GetAsync(path, Cancel);
            return answer.StatusCode;
        }
        catch (HttpRequestException)
        {
            // Between the standby's listener and the node's.
            return null;
        }
    }

    private static async Task SignalAsync(int pid, string signal)
    {
        using var kill = Process.Start("kill", [$"-{signal}", pid.ToString(CultureInfo.InvariantCulture)]);
        await kill.WaitForExitAsync(Cancel);
    }
}
