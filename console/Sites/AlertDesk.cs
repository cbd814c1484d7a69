using System.Text.Json;
using System.Text.Json.Serialization;
using Microsoft.Extensions.Options;
using Yizhan.Console.Live;

namespace Yizhan.Console.Sites;

/// <summary>Asks the Prometheus of the centre which alerts there are. It is asked without a token: it is no service of ours.</summary>
internal sealed class AlertDesk(IOptions<ConsoleOptions> options, TimeProvider clock) : IDisposable
{
    private readonly ServiceClient _client = new(new SocketsHttpHandler { UseProxy = false, UseCookies = false, AllowAutoRedirect = false, ConnectTimeout = TimeSpan.FromSeconds(5) }, clock);

    /// <summary>Its base address; null when none is configured.</summary>
    public Uri? Address { get; } = options.Value.PrometheusUrl is { Length: > 0 } url ? new Uri(url.EndsWith('/') ? url : url + "/") : null;

    /// <summary>Alerts of a site, the worst first; when Prometheus does not answer, what it said before.</summary>
    public Task<FeedView<IReadOnlyList<SiteAlert>>> ReadAsync(
        FeedView<IReadOnlyList<SiteAlert>> before, Uri prometheus, string site, TimeSpan fresh, CancellationToken cancellationToken) =>
        _client.ReadAsync(
            before, prometheus, fresh,
            async deadline =>
            {
                var answer = await _client.OneAsync(new Uri(prometheus, "api/v1/alerts"), AlertJson.Default.AlertAnswer, deadline);
                var found = answer.Data.Alerts.Where(a => a.Label("site") == site);
                return (IReadOnlyList<SiteAlert>)[.. found.OrderBy(a => a.State == "firing" ? 0 : 1).ThenBy(a => a.Label("severity"), StringComparer.Ordinal).ThenBy(a => a.ActiveAt)];
            },
            cancellationToken);

    public void Dispose() => _client.Dispose();
}

/// <summary>An alert, as <c>GET /api/v1/alerts</c> of Prometheus gives it out.</summary>
/// <param name="Labels">Among them <c>alertname</c>, <c>site</c> and <c>severity</c> (infra/observability/rules).</param>
/// <param name="State"><c>firing</c>, or <c>pending</c> until it has lasted as long as its rule wants.</param>
/// <param name="ActiveAt">Since when its condition holds.</param>
/// <param name="Annotations">Among them <c>summary</c>, <c>summary_zh</c> and <c>runbook</c>.</param>
public sealed record SiteAlert(
    IReadOnlyDictionary<string, string> Labels, string State, DateTimeOffset ActiveAt, IReadOnlyDictionary<string, string>? Annotations = null)
{
    /// <summary>A label; empty when it has none of this name.</summary>
    public string Label(string name) => Labels.GetValueOrDefault(name) ?? "";

    /// <summary>An annotation; empty when it has none of this name.</summary>
    public string Annotation(string name) => Annotations?.GetValueOrDefault(name) ?? "";

    /// <summary>What it says, in a language when its rule has that (<c>summary_zh</c>).</summary>
    public string Summary(string language) => Annotation("summary_" + language) is { Length: > 0 } own ? own : Annotation("summary");
}

internal sealed record AlertAnswer(AlertList Data);

internal sealed record AlertList(IReadOnlyList<SiteAlert> Alerts);

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(AlertAnswer))]
internal sealed partial class AlertJson : JsonSerializerContext;
