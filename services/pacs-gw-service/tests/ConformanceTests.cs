using System.Text.RegularExpressions;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;
using Yizhan.PacsGw.Peers;
using Yizhan.PacsGw.Query;
using Yizhan.PacsGw.Worklist;

namespace Yizhan.PacsGw.Tests;

/// <summary>What docs/conformance/dicom.md claims holds for a running gateway.</summary>
public sealed partial class ConformanceTests
{
    private static readonly string Statement = File.ReadAllText(Path.Combine(Root(), "docs", "conformance", "dicom.md"));

    [Fact]
    public async Task Every_storage_SOP_class_and_transfer_syntax_of_the_statement_is_negotiated()
    {
        var sopClasses = Uids("## 6 ");
        var syntaxes = Uids("## 3 ");
        Assert.True(sopClasses.Count > 100 && syntaxes.Count > 20, $"{sopClasses.Count} {syntaxes.Count}");
        await using var gateway = await Gateway.StartAsync();

        // 128 contexts in one association (PS3.8 §9.3.2.2); one transfer syntax each, so that the gateway has no other to choose.
        foreach (var contexts in sopClasses.SelectMany((c, i) => (string[][])[[c, syntaxes[i % syntaxes.Count]], [c, "1.2.840.10008.1.2"]])
            .Concat(syntaxes.Select(s => (string[])[DicomUids.CtImageStorage, s])).Chunk(128))
        {
            await using var association = await RequestAsync(gateway, contexts);
            for (var i = 0; i < contexts.Length; i++)
            {
                Assert.True(association.PresentationContexts.ContainsKey((byte)((2 * i) + 1)), $"{contexts[i][0]} in {contexts[i][1]} is not accepted.");
            }

            await association.ReleaseAsync(Gateway.Cancel);
        }

        // Nor does the code take storage classes that the statement keeps quiet about.
        Assert.Empty(DicomUids.StorageSopClasses.Keys.Except(sopClasses));
    }

    [Fact]
    public async Task What_the_statement_does_not_name_is_not_accepted()
    {
        await using var gateway = await Gateway.StartAsync();
        await using var association = await RequestAsync(
            gateway, [["1.2.3.4.5", "1.2.840.10008.1.2"], [DicomUids.CtImageStorage, "1.2.3.4.5"], [DicomUids.Verification, "1.2.840.10008.1.2.4.70"], [DicomUids.Verification, "1.2.840.10008.1.2"]]);
        Assert.Equal([(byte)7], association.PresentationContexts.Keys);
        Assert.Contains(association.Acceptance.ImplementationClassUid, Statement, StringComparison.Ordinal);
        await association.ReleaseAsync(Gateway.Cancel);
    }

    [Fact]
    public async Task Every_route_of_the_statement_is_there()
    {
        await using var gateway = await Gateway.StartAsync();
        var there = gateway.Services.GetServices<EndpointDataSource>().SelectMany(s => s.Endpoints).OfType<RouteEndpoint>()
            .SelectMany(e => (e.Metadata.GetMetadata<HttpMethodMetadata>()?.HttpMethods ?? []).Select(m => $"{m} {e.RoutePattern.RawText}"))
            .ToHashSet();
        var claimed = Routes().Matches(Section("## 5 ")).Select(m => $"{m.Groups[1].Value} /pacs-gw/dicom-web{m.Groups[2].Value}").ToList();
        Assert.True(claimed.Count > 20, $"{claimed.Count}");
        Assert.Empty(claimed.Except(there));
        Assert.Empty(there.Where(route => route.Contains("/pacs-gw/dicom-web/", StringComparison.Ordinal)).Except(claimed));
    }

    [Fact]
    public async Task Every_service_of_the_statement_is_negotiated_by_whom_it_says_and_no_other_is_served()
    {
        var claimed = Service().Matches(Section("## 7 ")).ToDictionary(m => m.Groups[1].Value, m => m.Groups[2].Value);
        Assert.Equal(
            Negotiation.Services.Select(s => $"{s.Key} {s.Value?.ToString() ?? "any"}").Order(StringComparer.Ordinal),
            claimed.Select(c => $"{c.Key} {c.Value}").Order(StringComparer.Ordinal));
        await using var gateway = await Gateway.StartAsync("--pacs-gw:peers:1:services:0=Query");
        foreach (var (calling, served) in ((string, Func<string, bool>)[])[("STORESCU", _ => true), ("CT-1", service => service is "Query" or "any")])
        {
            List<string[]> contexts = [.. claimed.Keys.SelectMany(uid => (string[][])[[uid, "1.2.840.10008.1.2"], [uid, "1.2.840.10008.1.2.1"]])];
            await using var association = await RequestAsync(gateway, contexts, calling);
            Assert.Equal(
                contexts.Where(c => served(claimed[c[0]])).Select(c => string.Join(' ', c)),
                association.PresentationContexts.Values.OrderBy(c => c.Id).Select(c => $"{c.AbstractSyntax} {c.TransferSyntax}"));
            await association.ReleaseAsync(Gateway.Cancel);
        }
    }

    [Fact]
    public void Every_matching_key_of_the_statement_is_indexed_at_its_level()
    {
        var rows = Key().Matches(Section("## 7 "));
        Assert.True(rows.Count > 10, $"{rows.Count}");
        Assert.All(rows, row =>
        {
            var key = MatchKey.Find(row.Groups[1].Value);
            Assert.NotNull(key?.Column);
            Assert.Equal((row.Groups[2].Value, row.Groups[3].Value), (key.Level.ToString(), key.Kind.ToString()));
        });
    }

    [Fact]
    public void A_worklist_item_has_the_attributes_of_the_statement()
    {
        var claimed = Code().Matches(Section("### 7.3 ", "\n### ")).Select(m => m.Groups[1].Value);
        var order = new ProcedureScheduled("1", "SCHEDULED", "", "P", "", "A^B", "", "", "", "", "", "", "", "CT", "20260101", "", "");
        Assert.Equal(Keywords(WorklistItem.ToDataset(order), "").Order(StringComparer.Ordinal), claimed.Order(StringComparer.Ordinal));

        static IEnumerable<string> Keywords(DicomDataset dataset, string path) => dataset
            .Where(e => e.Tag != DicomTags.SpecificCharacterSet)
            .SelectMany(e => DicomDictionary.TryGet(e.Tag, out var entry) && e.Items is { } items
                ? items.SelectMany(item => Keywords(item, $"{path}{entry.Keyword}."))
                : [path + entry.Keyword]);
    }

    [Fact]
    public void Every_character_set_of_the_statement_is_known()
    {
        var terms = Code().Matches(Section("## 4 ")).Select(m => m.Groups[1].Value).ToList();
        Assert.True(terms.Count > 15, $"{terms.Count}");
        Assert.All(terms, term => Assert.True(DicomCharacterSet.Parse(term).IsKnown, term));
    }

    private static Task<Association> RequestAsync(Gateway gateway, IReadOnlyList<string[]> contexts, string calling = "CT-1") => Connector.RequestAsync(
        "127.0.0.1",
        gateway.DicomPort,
        new AssociateRequest
        {
            CallingAeTitle = calling,
            CalledAeTitle = "YIZHAN",
            PresentationContexts = [.. contexts.Select((c, i) => new PresentationContext((byte)((2 * i) + 1), c[0], [c[1]]))],
        },
        new AssociationOptions(),
        TimeProvider.System,
        Gateway.Cancel);

    private static List<string> Uids(string heading) => [.. Code().Matches(Section(heading)).Select(m => m.Groups[1].Value).Distinct()];

    private static string Section(string heading, string next = "\n## ")
    {
        var start = Statement.IndexOf("\n" + heading, StringComparison.Ordinal);
        Assert.True(start >= 0, $"The statement has no section '{heading}'.");
        var end = Statement.IndexOf(next, start + 4, StringComparison.Ordinal);
        return end < 0 ? Statement[start..] : Statement[start..end];
    }

    private static string Root()
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(directory.FullName, "global.json")))
        {
            directory = directory.Parent ?? throw new DirectoryNotFoundException("No global.json above the test.");
        }

        return directory.FullName;
    }

    [GeneratedRegex(@"\| `([^`]+)` \|")]
    private static partial Regex Code();

    [GeneratedRegex(@"^\| [^|`]+ \| `([0-9.]+)` \| ([A-Za-z]+) \|$", RegexOptions.Multiline)]
    private static partial Regex Service();

    [GeneratedRegex(@"^\| `([A-Za-z]+)` \| ([A-Za-z]+) \| ([A-Za-z]+) \|$", RegexOptions.Multiline)]
    private static partial Regex Key();

    [GeneratedRegex(@"`(GET|POST|PUT|DELETE) (/[^`]+)`")]
    private static partial Regex Routes();
}
