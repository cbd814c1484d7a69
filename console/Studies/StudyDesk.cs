using System.Globalization;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Components.Authorization;
using Yizhan.Console.Live;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;

namespace Yizhan.Console.Studies;

/// <summary>A study as a search found it.</summary>
/// <param name="Uid">Study Instance UID.</param>
/// <param name="PatientName">Component groups joined by <c>=</c>.</param>
/// <param name="PatientId">Empty when the images have none.</param>
/// <param name="Date">YYYYMMDD, empty when unknown.</param>
/// <param name="Description">Study Description.</param>
/// <param name="Accession">Accession number.</param>
/// <param name="Modalities">Of its series.</param>
/// <param name="Series">How many.</param>
/// <param name="Instances">How many.</param>
public sealed record FoundStudy(
    string Uid, string PatientName, string PatientId, string Date, string Description, string Accession, IReadOnlyList<string> Modalities, int Series, int Instances);

/// <summary>A page of what was found.</summary>
/// <param name="Studies">Newest first.</param>
/// <param name="Skip">Studies before it.</param>
/// <param name="HasMore">There are studies after it.</param>
internal sealed record FoundStudies(IReadOnlyList<FoundStudy> Studies, int Skip, bool HasMore);

/// <summary>How far studies have come.</summary>
/// <param name="Archive">By Study Instance UID.</param>
/// <param name="Emr">What systems were told, by Study Instance UID; null when whoever looks may not see it.</param>
public sealed record StudyWays(IReadOnlyDictionary<string, StudyProgress> Archive, ILookup<string, EmrStudyView>? Emr);

/// <summary>Asks the archive as the person who looks: what they may see is decided there, and the audit log names them.</summary>
internal sealed class StudyDesk(ServiceAddresses addresses, LocalOperator operators, AuthenticationStateProvider authentication, TimeProvider clock)
    : PersonalDesk(addresses, operators, authentication, clock)
{
    /// <summary>Studies of a page.</summary>
    public const int PageSize = 25;

    /// <summary>Time between two readings of how far the shown studies have come; a search is asked for once, since each is a record in the audit log.</summary>
    public static readonly TimeSpan Fresh = TimeSpan.FromSeconds(3);

    /// <summary>PS3.18 §F.2.2.</summary>
    private static readonly string[] NameGroups = ["Alphabetic", "Ideographic", "Phonetic"];

    private static readonly TimeSpan AnswerTimeout = TimeSpan.FromSeconds(30);

    /// <summary>Whether the person may see studies, and what EMRs were told of them.</summary>
    public async Task<(bool Studies, bool Records)> MayAsync(string site)
    {
        var caller = await CallerAsync();
        return (caller.May(Permission.ReadStudies, site), caller.May(Permission.ReadRecords, site));
    }

    /// <summary>A page of the studies that match; or why there is none.</summary>
    public async Task<(FoundStudies? Found, string? Problem)> FindAsync(StudySearch search, int skip, CancellationToken cancellationToken) =>
        await AskAsync(search.Query, skip, PageSize, cancellationToken);

    /// <summary>One study; null when it is not here.</summary>
    public async Task<(FoundStudy? Study, string? Problem)> OneAsync(string uid, CancellationToken cancellationToken)
    {
        var (found, problem) = await AskAsync($"&StudyInstanceUID={Uri.EscapeDataString(uid)}", 0, 1, cancellationToken);
        return (found?.Studies is [var study, ..] ? study : null, problem);
    }

    /// <summary>Other studies of the same patient, newest first, at most twenty; none of a study without a Patient ID; null when the archive does not answer.</summary>
    public async Task<IReadOnlyList<FoundStudy>?> OthersAsync(FoundStudy study, CancellationToken cancellationToken) =>
        study.PatientId.Length == 0 || study.PatientId.AsSpan().ContainsAny('*', '?', '\\') ? []
        : (await AskAsync($"&PatientID={Uri.EscapeDataString(study.PatientId)}", 0, 20, cancellationToken)).Found is { } found
            ? [.. found.Studies.Where(s => s.Uid != study.Uid && s.PatientId == study.PatientId)] : null;

    /// <summary>Reads how far studies have come; when a service does not answer, what was said before.</summary>
    public Task<FeedView<StudyWays>> WaysAsync(FeedView<StudyWays> before, IReadOnlyList<FoundStudy> studies, bool records, CancellationToken cancellationToken)
    {
        var uids = string.Join('&', studies.Select(s => "uid=" + Uri.EscapeDataString(s.Uid)));
        return Client.ReadAsync(
            before, Addresses.Pacs, Fresh,
            async deadline => new StudyWays(
                (await Client.ListAsync(new Uri(Addresses.Pacs, "pacs-gw/studies/progress?" + uids), ContractsJson.Default.IReadOnlyListStudyProgress, deadline)).ToDictionary(p => p.StudyInstanceUid),
                records ? (await Client.ListAsync(new Uri(Addresses.Emr, "emr-adapter/studies?" + uids), ContractsJson.Default.IReadOnlyListEmrStudyView, deadline)).ToLookup(m => m.StudyInstanceUid) : null),
            cancellationToken);
    }

    /// <summary>QIDO-RS (PS3.18 §10.6). One more than is shown says whether there is a next page.</summary>
    private async Task<(FoundStudies? Found, string? Problem)> AskAsync(string query, int skip, int take, CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(AnswerTimeout);
        var address = new Uri(Addresses.Pacs, string.Create(CultureInfo.InvariantCulture, $"pacs-gw/dicom-web/studies?includefield=StudyDescription&offset={skip}&limit={take + 1}{query}"));
        try
        {
            var (answer, problem) = await Client.DoAsync(HttpMethod.Get, address, null, deadline.Token);
            return problem is not null ? (null, problem)
                : answer is not JsonArray found ? (null, "The answer is not a list.")
                : (new FoundStudies([.. found.Take(take).Select(Read)], skip, found.Count > take), null);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            return (null, $"No answer within {AnswerTimeout.TotalSeconds} s.");
        }
    }

    private static FoundStudy Read(JsonNode? study) => new(
        Text(study, "0020000D"), Name(study?["00100010"]?["Value"]?[0]), Text(study, "00100020"), Text(study, "00080020"), Text(study, "00081030"), Text(study, "00080050"),
        [.. (study?["00080061"]?["Value"] as JsonArray ?? []).Select(m => m?.ToString() ?? "")], Number(study, "00201206"), Number(study, "00201208"));

    private static string Name(JsonNode? name) =>
        string.Join('=', NameGroups.Select(group => name?[group]?.ToString() ?? "")).TrimEnd('=');

    private static string Text(JsonNode? study, string tag) => study?[tag]?["Value"]?[0]?.ToString() ?? "";

    private static int Number(JsonNode? study, string tag) =>
        int.TryParse(Text(study, tag), NumberStyles.Integer, CultureInfo.InvariantCulture, out var number) ? number : 0;
}
