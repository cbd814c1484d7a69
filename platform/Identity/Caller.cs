using System.Security.Claims;
using System.Text.Json;
using Microsoft.AspNetCore.Http;
using Yizhan.Platform.Flows;

namespace Yizhan.Platform.Identity;

/// <summary>Who calls: what a token or a session says, read once.</summary>
/// <remarks>
/// Claims: <c>sub</c>, <c>name</c>; <c>roles</c> (an array; <c>radiographer</c> counts at every site of <c>sites</c>,
/// <c>radiographer@lakeside</c> at that one), also Keycloak's <c>realm_access.roles</c>; <c>sites</c> (an array; <c>*</c> is every
/// site); <c>scope</c>; <c>act</c> (RFC 8693 §4.1, the newest actor outermost); <c>break_glass</c> (the reason that was given).
/// </remarks>
public sealed class Caller
{
    /// <summary>A bound on what one token may carry; more is ignored, which takes rights away and never gives any.</summary>
    private const int MaxValues = 256;

    private readonly Dictionary<string, Permission> _bySite = new(StringComparer.Ordinal);
    private readonly Permission _everywhere;

    private Caller(ClaimsPrincipal principal)
    {
        IsService = principal.Identity?.AuthenticationType == ServiceTls.CertificateScheme;
        Subject = principal.FindFirstValue("sub") ?? "";
        Name = principal.FindFirstValue("name") ?? principal.FindFirstValue("preferred_username") ?? Subject;
        BreakGlass = principal.FindFirstValue("break_glass");
        Scopes = [.. Words(principal, "scope").Select(word => SmartScope.TryParse(word, out var scope) ? scope : null).OfType<SmartScope>()];
        Actors = ActorsOf(principal.FindFirstValue("act"));
        var sites = Words(principal, "sites").ToArray();
        foreach (var role in Words(principal, "roles").Concat(RealmRoles(principal)))
        {
            var (name, bound) = role.Split('@', 2) is [var before, var site] ? (before, new[] { site }) : (role, sites);
            foreach (var at in bound)
            {
                _bySite[at] = _bySite.GetValueOrDefault(at) | (IsService ? Roles.OfService(name) : Roles.Of(name));
            }
        }

        _everywhere = _bySite.GetValueOrDefault("*");
        Grants = [.. Words(principal, "roles").Concat(RealmRoles(principal)).Where(r => r.Contains('@') || Roles.Of(r) != Permission.None)
            .Select(r => r.Contains('@') ? r : $"{r}@{string.Join(',', sites)}")];
    }

    /// <summary>True for a service of the installation that is known by the certificate of its connection, not by a token.</summary>
    public bool IsService { get; }

    /// <summary>Who: the subject of the token, <c>local:name</c> for somebody on the node itself.</summary>
    public string Subject { get; }

    /// <summary>What to call them on a page.</summary>
    public string Name { get; }

    /// <summary>Roles with their sites, such as <c>radiographer@lakeside</c>, for messages and pages.</summary>
    public IReadOnlyList<string> Grants { get; }

    /// <summary>The sites at which any role counts.</summary>
    public IReadOnlyCollection<string> Sites => _bySite.Keys;

    /// <summary>SMART scopes; none means that the role alone decides.</summary>
    public IReadOnlyList<SmartScope> Scopes { get; }

    /// <summary>Who acts for the subject, the newest first (RFC 8693 §4.1); empty when nobody does.</summary>
    public IReadOnlyList<string> Actors { get; }

    /// <summary>The reason of emergency access; null when it is none.</summary>
    public string? BreakGlass { get; }

    /// <summary>Who to write into the audit log: the subject, and behind it who acted for it.</summary>
    public string Agent => Actors.Count == 0 ? Subject : $"{Subject} by {string.Join(" by ", Actors)}";

    /// <summary>Whether all of a permission is granted at a site.</summary>
    public bool May(Permission permission, string site) =>
        permission != Permission.None && ((_everywhere | _bySite.GetValueOrDefault(site)) & permission) == permission;

    /// <summary>Whether the scopes allow an interaction (c, r, u, d or s) with a FHIR resource type. Without SMART scopes the role alone decides.</summary>
    public bool MayInteract(string resource, char interaction) =>
        Scopes.Count == 0 || Scopes.Any(scope => scope.Allows(resource, interaction));

    /// <summary>Reads a principal.</summary>
    public static Caller From(ClaimsPrincipal principal) => new(principal);

    /// <summary>Who called; null when nobody said.</summary>
    public static Caller? Of(HttpContext context) => context.User.Identity?.IsAuthenticated != true ? null
        : context.Features.Get<Caller>() is { } known ? known
        : Remember(context, new Caller(context.User));

    /// <summary>Who to write into the audit log for a request: the caller, or the network address where a route is open to all.</summary>
    public static string AgentOf(HttpContext context) =>
        Of(context)?.Agent ?? context.Connection.RemoteIpAddress?.ToString() ?? "unknown";

    private static Caller Remember(HttpContext context, Caller caller)
    {
        context.Features.Set(caller);
        return caller;
    }

    /// <summary>Values of a claim that is one word, several words in one, or several claims.</summary>
    private static IEnumerable<string> Words(ClaimsPrincipal principal, string type) => principal.FindAll(type)
        .SelectMany(claim => claim.Value.Split(' ', StringSplitOptions.RemoveEmptyEntries)).Take(MaxValues);

    private static IEnumerable<string> RealmRoles(ClaimsPrincipal principal)
    {
        if (principal.FindFirstValue("realm_access") is not { } json || Parse(json) is not { ValueKind: JsonValueKind.Object } access
            || !access.TryGetProperty("roles", out var roles) || roles.ValueKind != JsonValueKind.Array)
        {
            return [];
        }

        return [.. roles.EnumerateArray().Take(MaxValues).Where(role => role.ValueKind == JsonValueKind.String).Select(role => role.GetString()!)];
    }

    private static List<string> ActorsOf(string? json)
    {
        var actors = new List<string>();
        for (var act = json is null ? null : Parse(json);
            act is { ValueKind: JsonValueKind.Object } actor && actors.Count < 8;
            act = actor.TryGetProperty("act", out var inner) ? inner : null)
        {
            actors.Add(actor.TryGetProperty("sub", out var sub) && sub.ValueKind == JsonValueKind.String ? sub.GetString()! : "unknown");
        }

        return actors;
    }

    private static JsonElement? Parse(string json)
    {
        try
        {
            return JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = 32 }).RootElement;
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
