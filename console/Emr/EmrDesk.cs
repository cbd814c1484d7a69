using System.Globalization;
using System.Text.Json.Serialization.Metadata;
using Yizhan.Console.Live;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;

namespace Yizhan.Console.Emr;

/// <summary>One page of a list.</summary>
/// <param name="Items">Its records.</param>
/// <param name="Skip">Records before it.</param>
/// <param name="HasMore">There are records after it.</param>
internal sealed record Paged<T>(IReadOnlyList<T> Items, int Skip, bool HasMore);

/// <summary>Which page of each list is looked at: records before it.</summary>
internal sealed record EmrPlace(int Orders = 0, int Waiting = 0, int Dead = 0, int Unmapped = 0, int Identities = 0);

/// <summary>What the adapter says at one moment.</summary>
/// <param name="Systems">The systems of its settings.</param>
/// <param name="Orders">Orders, newest first.</param>
/// <param name="Waiting">Messages that no system has taken yet.</param>
/// <param name="Dead">Messages that wait for a person.</param>
/// <param name="Unmapped">Codes that no map knows.</param>
/// <param name="Identities">Patients whose identifiers contradict each other.</param>
internal sealed record EmrDeskView(
    IReadOnlyList<EmrSystemView> Systems, Paged<EmrOrderView> Orders, Paged<EmrMessageView> Waiting, Paged<EmrMessageView> Dead, Paged<UnmappedCodeView> Unmapped,
    Paged<IdentityConflictView> Identities);

/// <summary>Asks the EMR adapter page by page, and does what an operator decides.</summary>
internal sealed class EmrDesk(ServiceAddresses addresses, LocalOperator operators, TimeProvider clock) : IDisposable
{
    /// <summary>Records of a page.</summary>
    public const int PageSize = 20;

    /// <summary>Time between two readings of an open page.</summary>
    public static readonly TimeSpan Fresh = TimeSpan.FromSeconds(3);

    private readonly ServiceClient _client = new(operators, clock);

    /// <summary>Reads what a page shows; when the adapter does not answer, what it said before.</summary>
    public Task<FeedView<EmrDeskView>> ReadAsync(FeedView<EmrDeskView> before, EmrPlace place, CancellationToken cancellationToken) => _client.ReadAsync(
        before, addresses.Emr, Fresh,
        async deadline => new EmrDeskView(
            await _client.ListAsync(new Uri(Adapter, "systems"), ContractsJson.Default.IReadOnlyListEmrSystemView, deadline),
            await PageAsync("orders?", place.Orders, ContractsJson.Default.IReadOnlyListEmrOrderView, deadline),
            await PageAsync("messages?state=waiting&", place.Waiting, ContractsJson.Default.IReadOnlyListEmrMessageView, deadline),
            await PageAsync("dead-letters?", place.Dead, ContractsJson.Default.IReadOnlyListEmrMessageView, deadline),
            await PageAsync("unmapped?", place.Unmapped, ContractsJson.Default.IReadOnlyListUnmappedCodeView, deadline),
            await PageAsync("identity-conflicts?", place.Identities, ContractsJson.Default.IReadOnlyListIdentityConflictView, deadline)),
        cancellationToken);

    /// <summary>Sends a dead letter again; null, or why not.</summary>
    public Task<string?> ReplayAsync(long key, string by, string reason, CancellationToken cancellationToken) =>
        DoAsync(string.Create(CultureInfo.InvariantCulture, $"dead-letters/{key}/replay"), JsonContent.Create(new EmrDecision(by, reason), ContractsJson.Default.EmrDecision), cancellationToken);

    /// <summary>Says what a code means; null, or why not.</summary>
    public Task<string?> MapAsync(TermDecision decision, CancellationToken cancellationToken) =>
        DoAsync("unmapped", JsonContent.Create(decision, ContractsJson.Default.TermDecision), cancellationToken);

    /// <summary>Says whether two identifiers are one patient; null, or why not.</summary>
    public Task<string?> DecideAsync(long key, IdentityDecision decision, CancellationToken cancellationToken) =>
        DoAsync(string.Create(CultureInfo.InvariantCulture, $"identity-conflicts/{key}"), JsonContent.Create(decision, ContractsJson.Default.IdentityDecision), cancellationToken);

    public void Dispose() => _client.Dispose();

    private Uri Adapter => new(addresses.Emr, "emr-adapter/");

    /// <summary>One more than is shown says whether there is a next page.</summary>
    private async Task<Paged<T>> PageAsync<T>(string path, int skip, JsonTypeInfo<IReadOnlyList<T>> type, CancellationToken cancellationToken)
    {
        var items = await _client.ListAsync(new Uri(Adapter, string.Create(CultureInfo.InvariantCulture, $"{path}skip={skip}&limit={PageSize + 1}")), type, cancellationToken);
        return new Paged<T>([.. items.Take(PageSize)], skip, items.Count > PageSize);
    }

    private async Task<string?> DoAsync(string path, HttpContent body, CancellationToken cancellationToken) =>
        (await _client.DoAsync(HttpMethod.Post, new Uri(Adapter, path), body, cancellationToken)).Problem;
}
