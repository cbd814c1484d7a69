using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Yizhan.Console.Emr;
using Yizhan.Console.Live;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;

namespace Yizhan.Console.Inventory;

/// <summary>What is looked at: a site (empty is all of them), part of a name, and which page of each list.</summary>
internal sealed record InventoryPlace(string Site = "", string Search = "", int Stock = 0, int Expiring = 0, int Shortages = 0, int Sources = 0);

/// <summary>What the inventory says at one moment.</summary>
/// <param name="Sites">Every site that it knows.</param>
/// <param name="Site">The site that is shown; empty is all of them.</param>
/// <param name="Stock">Lots with what there is of them.</param>
/// <param name="Months">Lots that expire in each month.</param>
/// <param name="Expiring">Those that expire soon or have, the first first.</param>
/// <param name="Shortages">What has to be ordered; null while no one site is chosen.</param>
/// <param name="Sources">How each source was collected, the one that is silent the longest first.</param>
internal sealed record InventoryDeskView(
    IReadOnlyList<string> Sites, string Site, Paged<StockView> Stock, IReadOnlyList<ExpiryMonth> Months, Paged<StockView> Expiring, Paged<ForecastView>? Shortages,
    Paged<SourceView> Sources);

/// <summary>Where a lot is and was, and for whom it was used: one page of each.</summary>
internal sealed record RecallPage(RecallView Recall, int Skip);

/// <summary>Asks the inventory, page by page. It changes nothing: stock is counted on the count page, in the session of who counts.</summary>
internal sealed class InventoryDesk(ServiceAddresses addresses, LocalOperator operators, TimeProvider clock) : IDisposable
{
    /// <summary>Records of a page.</summary>
    public const int PageSize = 20;

    /// <summary>Days ahead of which the list of what expires tells.</summary>
    public const int ExpiringDays = 90;

    /// <summary>Days of a plot.</summary>
    public const int PlotDays = 90;

    /// <summary>Time between two readings of an open page. Forecasts read the consumption of months: oftener says nothing new.</summary>
    public static readonly TimeSpan Fresh = TimeSpan.FromSeconds(15);

    private readonly ServiceClient _client = new(operators, clock);

    /// <summary>Reads what a page shows; when the inventory does not answer, what it said before.</summary>
    public Task<FeedView<InventoryDeskView>> ReadAsync(FeedView<InventoryDeskView> before, InventoryPlace place, CancellationToken cancellationToken) => _client.ReadAsync(
        before, addresses.Inventory, Fresh,
        async deadline =>
        {
            var sites = await _client.ListAsync(new Uri(Inventory, "sites"), ContractsJson.Default.IReadOnlyListString, deadline);
            var site = place.Site.Length == 0 && sites.Count == 1 ? sites[0] : place.Site;
            var of = $"site={Uri.EscapeDataString(site)}&";
            return new InventoryDeskView(
                sites, site,
                await PageAsync($"stock?{of}search={Uri.EscapeDataString(place.Search)}&", place.Stock, ContractsJson.Default.IReadOnlyListStockView, deadline),
                await _client.ListAsync(new Uri(Inventory, $"expiry-calendar?{of}months=12"), ContractsJson.Default.IReadOnlyListExpiryMonth, deadline),
                await PageAsync($"expiring?{of}days={ExpiringDays}&", place.Expiring, ContractsJson.Default.IReadOnlyListStockView, deadline),
                site.Length == 0 ? null : await ShortagesAsync(of, place.Shortages, deadline),
                await PageAsync($"sources?{of}", place.Sources, ContractsJson.Default.IReadOnlyListSourceView, deadline));
        },
        cancellationToken);

    /// <summary>Where a lot went; or why that cannot be told.</summary>
    public async Task<(RecallPage? Page, string? Problem)> RecallAsync(string lot, string item, int skip, CancellationToken cancellationToken)
    {
        var (answer, problem) = await GetAsync(
            string.Create(CultureInfo.InvariantCulture, $"recall?lot={Uri.EscapeDataString(lot)}&item={Uri.EscapeDataString(item)}&skip={skip}&limit={PageSize}"), ContractsJson.Default.RecallView, cancellationToken);
        return (answer is null ? null : new RecallPage(answer, skip), problem);
    }

    /// <summary>Stock of an item at the end of each of the last days; or why that cannot be told.</summary>
    public Task<(IReadOnlyList<double>? Days, string? Problem)> HistoryAsync(string site, string item, CancellationToken cancellationToken) => GetAsync(
        string.Create(CultureInfo.InvariantCulture, $"history?site={Uri.EscapeDataString(site)}&item={Uri.EscapeDataString(item)}&days={PlotDays}"),
        ContractsJson.Default.IReadOnlyListDouble, cancellationToken);

    public void Dispose() => _client.Dispose();

    private Uri Inventory => new(addresses.Inventory, "inventory/");

    /// <summary>One more than is shown says whether there is a next page.</summary>
    private async Task<Paged<T>> PageAsync<T>(string path, int skip, JsonTypeInfo<IReadOnlyList<T>> type, CancellationToken cancellationToken)
    {
        var items = await _client.ListAsync(new Uri(Inventory, string.Create(CultureInfo.InvariantCulture, $"{path}skip={skip}&limit={PageSize + 1}")), type, cancellationToken);
        return new Paged<T>([.. items.Take(PageSize)], skip, items.Count > PageSize);
    }

    private async Task<Paged<ForecastView>> ShortagesAsync(string of, int skip, CancellationToken cancellationToken)
    {
        var shortage = await _client.OneAsync(
            new Uri(Inventory, string.Create(CultureInfo.InvariantCulture, $"shortage?{of}skip={skip}&limit={PageSize}")), ContractsJson.Default.ShortageView, cancellationToken);
        return new Paged<ForecastView>(shortage.Items, skip, shortage.More);
    }

    private async Task<(T? Answer, string? Problem)> GetAsync<T>(string path, JsonTypeInfo<T> type, CancellationToken cancellationToken)
        where T : class
    {
        var (answer, problem) = await _client.DoAsync(HttpMethod.Get, new Uri(Inventory, path), null, cancellationToken);
        return (answer?.Deserialize(type), problem);
    }
}
