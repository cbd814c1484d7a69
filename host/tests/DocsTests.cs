using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Routing.Patterns;
using Yizhan.Architecture;
using Yizhan.Platform;

namespace Yizhan.Host.Tests;

/// <summary>Settings and routes that the documents name are there. Commands, files and links are looked at in <c>cli/tests</c>.</summary>
public sealed partial class DocsTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-docs-").FullName;
    private WebApplication[] _nodes = [];

    public ValueTask InitializeAsync()
    {
        _nodes =
        [
            Nodes.Centre([$"--node:dataFolder={Path.Combine(_folder, "centre")}", "--log:level=error", "--pacs-gw:dicomPort=0", "--fleet:linkPort=0"]).Build(),
            Nodes.Edge([$"--node:dataFolder={Path.Combine(_folder, "site")}", "--node:siteId=site-a", "--log:level=error", "--pacs-gw:dicomPort=0"]).Build(),
        ];
        return ValueTask.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var node in _nodes)
        {
            await node.DisposeAsync();
        }

        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public void Each_setting_that_a_document_names_is_one()
    {
        var named = Documents().SelectMany(text => Setting().Matches(text).Select(m => m.Groups[1].Value)).Where(s => !NotOurs.Contains(s)).Distinct(StringComparer.Ordinal).ToArray();
        Assert.True(named.Length >= 100, $"Only {named.Length} settings were found.");
        Assert.Equal([], named.Where(IsUnknown));
        Assert.True(IsUnknown("storage:nonsense"));
    }

    [Fact]
    public void Each_route_that_a_document_names_is_one()
    {
        var routes = _nodes.SelectMany(node => ((IEndpointRouteBuilder)node).DataSources.SelectMany(source => source.Endpoints).OfType<RouteEndpoint>())
            .Select(e => (Methods: e.Metadata.GetMetadata<HttpMethodMetadata>()?.HttpMethods, e.RoutePattern)).ToArray();
        var named = Documents().SelectMany(text => Route().Matches(text).Select(m => (Method: m.Groups[1].Value, Path: m.Groups[2].Value))).Distinct().ToArray();
        Assert.True(named.Length >= 20, $"Only {named.Length} routes were found.");
        Assert.Equal([], named.Where(r => !IsRoute(r.Method, r.Path)));
        Assert.False(IsRoute("GET", "/fleet/nonsense"));

        // The README of a service leaves out where the service is. The link and the enrolment port have listeners of their own (docs/protocols/link.md).
        bool IsRoute(string method, string path) => path.EndsWith("...", StringComparison.Ordinal) || path.StartsWith("/fleet/link/", StringComparison.Ordinal) || path.StartsWith("/enrolment/", StringComparison.Ordinal)
            || routes.Any(r => (r.Methods is null || r.Methods.Contains(method)) && Enumerable.Range(0, Math.Min(3, r.RoutePattern.PathSegments.Count)).Any(skip => Fits(path.Trim('/').Split('/'), [.. r.RoutePattern.PathSegments.Skip(skip)])));
    }

    /// <summary>What looks like a setting of ours in the texts and is one of somebody else, or none at all.</summary>
    private static readonly string[] NotOurs = ["redpanda:v23", "keycloak:23", "grafana:10", "minio:RELEASE", "scan:allow", "urn:yizhan:message", "node:http"];

    private bool IsUnknown(string setting)
    {
        // A number, and N in a text, is the place in a list.
        var configuration = new ConfigurationBuilder().AddInMemoryCollection([new(setting.Replace(":N:", ":0:", StringComparison.Ordinal), "")]).Build();
        return _nodes.All(node =>
        {
            try
            {
                node.Services.GetRequiredService<Settings>().RefuseUnknown(configuration);
                return false;
            }
            catch (SettingException)
            {
                return true;
            }
        });
    }

    /// <summary>Whether a path of a text, in which <c>{id}</c>, <c>ID</c> and <c>&lt;id&gt;</c> stand for anything, is one of a route.</summary>
    private static bool Fits(string[] path, IReadOnlyList<RoutePatternPathSegment> segments)
    {
        if (segments[0].Parts is not [RoutePatternLiteralPart])
        {
            // It would be anything.
            return false;
        }

        for (var i = 0; i < segments.Count; i++)
        {
            if (segments[i].Parts is [RoutePatternParameterPart parameter])
            {
                if (parameter.IsCatchAll || (i >= path.Length && parameter.IsOptional))
                {
                    return true;
                }

                if (i < path.Length)
                {
                    continue;
                }

                return false;
            }

            var literal = string.Concat(segments[i].Parts.Select(p => p is RoutePatternLiteralPart l ? l.Content : "*"));
            if (i >= path.Length || (!string.Equals(literal, path[i], StringComparison.OrdinalIgnoreCase) && !literal.Contains('*', StringComparison.Ordinal) && !Any().IsMatch(path[i])))
            {
                return false;
            }
        }

        return path.Length == segments.Count;
    }

    private static IEnumerable<string> Documents() => Directory.EnumerateFiles(Tree.Root, "*.md", SearchOption.AllDirectories)
        .Where(path => !path.Split('/').Any(part => part is "node_modules" or "artifacts" or ".git" or "adr" or ".yizhan"))
        .Select(File.ReadAllText);

    [GeneratedRegex("`([a-z][a-z-]+(?::[a-zA-Z0-9]+)+)`")]
    private static partial Regex Setting();

    // The whole path or nothing: "…" and "*" are left to the reader.
    [GeneratedRegex(@"`(GET|POST|PUT|DELETE|PATCH) (/[A-Za-z0-9{}<>/_.-]+)(?:\?[^`]*)?`")]
    private static partial Regex Route();

    [GeneratedRegex("^([{<].*[}>]|[A-Z]+)$")]
    private static partial Regex Any();
}
