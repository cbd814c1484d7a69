using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Contracts;
using Yizhan.Fleet.Accounts;
using Yizhan.Fleet.Drills;
using Yizhan.Fleet.Models;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Fleet.Tests;

/// <summary>What docs/adr/0090 calls a projection is made again of the event log when its file is lost.</summary>
[Trait("Clause", "D3.5")]
public sealed class RebuildTests : IDisposable
{
    private static readonly string[] Books = ["drills.db", "models.db", "emergencies.db"];

    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-rebuild-").FullName;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task The_books_of_the_centre_answer_the_same_after_their_files_were_lost()
    {
        string before;
        await using (var centre = await StartAsync())
        {
            var log = centre.Services.GetRequiredService<IEventLog>();
            var epoch = new Guid("7d0b9e5c-0c8b-4a53-9d1e-6f1f0a2b3c4d");
            await log.ReceiveAsync(
                [
                    Logged(1, "site-1", epoch, EmergencyTaken.EventType, new EmergencyTaken("e1", "site-1", "ann", "no link", 1000, 2000), ContractsJson.Default.EmergencyTaken),
                    Logged(2, "site-1", epoch, EmergencyTaken.EventType, new EmergencyTaken("e2", "site-1", "bob", "no link", 1500, 2500), ContractsJson.Default.EmergencyTaken),
                    Logged(3, "site-1", epoch, ModelsReported.EventType, new ModelsReported("site-1", 1000, []), ContractsJson.Default.ModelsReported),
                    Logged(4, "site-1", epoch, DrillFinished.EventType, Drill("outage-rebuild", passed: false), ContractsJson.Default.DrillFinished),
                    Logged(5, "site-1", epoch, DrillFinished.EventType, Drill("outage-again", passed: true), ContractsJson.Default.DrillFinished),
                ], Cancel);
            await CaughtUpAsync(centre);
            Assert.True(await centre.Services.GetRequiredService<EmergencyBook>().ReviewAsync("site-1", "e1", "carol", "was needed", Cancel));
            await CaughtUpAsync(centre);
            before = Answers(centre);
            await centre.StopAsync(Cancel);
        }

        Assert.Contains("was needed", before, StringComparison.Ordinal);
        Assert.Contains("outage-again", before, StringComparison.Ordinal);
        foreach (var file in Books.SelectMany(name => Directory.GetFiles(Path.Combine(_folder, "fleet"), name + "*")))
        {
            File.Delete(file);
        }

        await using var again = await StartAsync();
        await CaughtUpAsync(again);
        Assert.Equal(before, Answers(again));
        await again.StopAsync(Cancel);
    }

    private static LoggedEntry Logged<T>(long sequence, string site, Guid epoch, string type, T data, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> json) => new(
        sequence, new EntryIdentity(site, epoch, Lane.Normal, sequence), new Entry(Lane.Normal, type, $"fact/{sequence}", "key", 1000 + sequence, JsonSerializer.SerializeToUtf8Bytes(data, json)));

    private static DrillFinished Drill(string id, bool passed) => new(
        id, "outage", "local", passed, 1000, 2000, 10, 10, 0, 0, 1.5, 0, "A sentence.", ["limits"], [new("all there", passed, "10 of 10")], [new(0.5, "begun")], []);

    private static string Answers(WebApplication centre)
    {
        var (drills, models, emergencies) = (centre.Services.GetRequiredService<DrillBook>(), centre.Services.GetRequiredService<ModelBook>(), centre.Services.GetRequiredService<EmergencyBook>());
        return JsonSerializer.Serialize(new
        {
            Kinds = drills.Kinds().Select(k => new { k.Kind, k.State, k.LastSuccessMs, Runs = k.Runs.Select(r => r.Id) }),
            Report = drills.Report("outage-rebuild"),
            Models = models.Reports(),
            Waiting = emergencies.ToReview(),
            Reviewed = emergencies.Reviewed("site-1", 10),
        });
    }

    private static async Task CaughtUpAsync(WebApplication centre)
    {
        var log = centre.Services.GetRequiredService<IEventLog>();
        foreach (var consumer in centre.Services.GetServices<ILogConsumer>())
        {
            while (await consumer.ReadThroughAsync(Cancel) < log.LastPosition)
            {
                await Task.Delay(5, Cancel);
            }
        }
    }

    private async Task<WebApplication> StartAsync()
    {
        var centre = new ServiceHost([$"--node:dataFolder={_folder}", "--node:siteId=centre", "--web:url=http://127.0.0.1:0", "--fleet:linkPort=0", "--log:level=Error"]).Add<FleetModule>().Build();
        await centre.StartAsync(Cancel);
        return centre;
    }
}
