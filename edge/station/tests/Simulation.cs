using System.Runtime.CompilerServices;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Fleet;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Station.Tests;

/// <summary>The real shipper, the real intake and two real logs, joined by a simulated line, all on one virtual clock.</summary>
internal sealed class Simulation : IAsyncDisposable
{
    private const int MaxSteps = 60_000;

    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-sim-").FullName;
    private readonly CancellationTokenSource _stop = new();
    private readonly WebApplication _centre;
    private readonly WebApplication _edge;
    private readonly Task _shipping;

    public Simulation(int seed, Func<LinkIntake, TimeProvider, Random, SimulatedLink> line)
    {
        _centre = Build<FleetModule>("centre", "centre");
        _edge = Build<StationModule>("edge", TwoNodes.Site);
        Link = line(_centre.Services.GetRequiredService<LinkIntake>(), Clock, new Random(seed));
        Shipper = new Shipper(
            EdgeLog, EdgeBlobs, Link, _edge.Services.GetRequiredService<Quarantine>(), new StationOptions(), Clock, new Random(seed),
            NullLogger<Shipper>.Instance);
        _shipping = Shipper.RunAsync(_stop.Token);
    }

    public FakeTimeProvider Clock { get; } = new(new DateTimeOffset(2026, 3, 1, 0, 0, 0, TimeSpan.Zero));

    public SimulatedLink Link { get; }

    public Shipper Shipper { get; }

    public IEventLog EdgeLog => _edge.Services.GetRequiredService<IEventLog>();

    public IBlobStore EdgeBlobs => _edge.Services.GetRequiredService<IBlobStore>();

    public IEventLog CentreLog => _centre.Services.GetRequiredService<IEventLog>();

    public IBlobStore CentreBlobs => _centre.Services.GetRequiredService<IBlobStore>();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>Moves the clock in steps until a condition holds; between steps what is real (disk, threads) gets a moment.</summary>
    /// <returns>Virtual time that passed.</returns>
    public async Task<TimeSpan> UntilAsync(Func<bool> condition, TimeSpan step, [CallerArgumentExpression(nameof(condition))] string what = "")
    {
        var start = Clock.GetUtcNow();
        var began = TimeProvider.System.GetTimestamp();
        for (var steps = 0; !condition(); steps++)
        {
            Assert.True(steps < MaxSteps || TimeProvider.System.GetElapsedTime(began) < TimeSpan.FromMinutes(5), $"Not after {steps} steps of {step}: {what}");
            Assert.False(_shipping.IsFaulted, _shipping.Exception?.ToString());
            Clock.Advance(step);
            await Task.Delay(1, Cancel);
        }

        return Clock.GetUtcNow() - start;
    }

    public bool Delivered() => Enum.GetValues<Lane>().All(lane => EdgeLog.Usage(lane).Entries == 0);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _shipping;
        await _edge.DisposeAsync();
        await _centre.DisposeAsync();
        _stop.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private WebApplication Build<TModule>(string folder, string site) where TModule : IServiceModule => new ServiceHost([
        $"--node:siteId={site}", $"--node:dataFolder={Path.Combine(_folder, folder)}", "--web:url=http://127.0.0.1:0", "--log:level=error",
        "--storage:freeFloorBytes=0"])
        .Add<TModule>().With(services => services.AddSingleton<TimeProvider>(Clock)).Build();
}
