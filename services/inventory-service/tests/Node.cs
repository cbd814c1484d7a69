using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Contracts;
using Yizhan.Inventory.Ledger;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Inventory.Tests;

/// <summary>The inventory of one site in a folder, on a free port.</summary>
internal sealed class Node : IAsyncDisposable
{
    private readonly WebApplication _app;

    private Node(WebApplication app) => (_app, Http) = (app, Operator.Client(app, "/inventory/"));

    public const string Site = "lakeside";

    public HttpClient Http { get; }

    public IEventLog Events => Service<IEventLog>();

    public LedgerWriter Ledger => Service<LedgerWriter>();

    public LedgerQueries Queries => Service<LedgerQueries>();

    public static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public T Service<T>() where T : notnull => _app.Services.GetRequiredService<T>();

    public static async Task<Node> StartAsync(string folder, TimeProvider? clock = null, string site = Site, string[]? settings = null)
    {
        var app = new ServiceHost([$"--node:dataFolder={folder}", $"--node:siteId={site}", "--web:url=http://127.0.0.1:0", "--log:level=Error", .. settings ?? []])
            .Add<InventoryModule>().With(services => services.AddSingleton(clock ?? TimeProvider.System)).Build();
        await app.StartAsync(Cancel);
        var node = new Node(app);

        // Its own start is over: sources that only a test has are not taken for removed ones.
        await Wait.UntilAsync(() => node.Queries.Sources(site, 100).Any(s => s.Last.Source == "node"));
        return node;
    }

    /// <summary>Defines an item counted in pieces, with a box of ten.</summary>
    public async Task DefineAsync(string code = "gloves") => Assert.IsType<ApplyResult.Applied>(await Ledger.DefineAsync(ItemOf(code), Cancel));

    public static ItemDefinition ItemOf(string code) =>
        new(code, $"Item {code}", "consumable", "piece", new Dictionary<string, decimal> { ["box"] = 10, ["third"] = 0.333m });

    public static MovementBatch Batch(string id, params Movement[] movements) => new(id, "test", "tester", movements);

    public static Movement Move(string kind, decimal quantity, DateTimeOffset? at = null, string lot = "L1", string item = "gloves", string unit = "") =>
        new(kind, item, quantity, unit, (at ?? new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero)).ToUnixTimeMilliseconds(), lot);

    public decimal Balance(string lot = "L1") => Queries.Stock(new StockFilter(Site, Lot: lot), 100).Sum(s => s.Quantity);

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await _app.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
    }
}

/// <summary>A folder that goes with the test.</summary>
internal sealed class Folder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("yizhan-inventory-").FullName;

    public string this[params string[] parts] => System.IO.Path.Combine([Path, .. parts]);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
