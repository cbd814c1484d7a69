using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Text.Json;
using Yizhan.Contracts;
using Yizhan.Samples;

namespace Yizhan.Drills;

/// <summary>What the drill found.</summary>
/// <param name="Slices">Slices of the CT that was sent.</param>
/// <param name="Result">What the model found; null when it did not answer in time.</param>
/// <param name="AnsweredMs">From the last slice to the result at the site, milliseconds.</param>
/// <param name="LineWasDown">The line was down until after the result.</param>
/// <param name="AtSite">Modalities of the study's series at the site, while the line was down.</param>
/// <param name="AtCentre">The same at the centre, after it was mended.</param>
/// <param name="UrgentAtCentre">The result came to the centre on lane urgent.</param>
/// <param name="FhirAtSite">FHIR Observations of the findings at the site, while the line was down.</param>
/// <param name="InConsole">Findings that the console's page of models shows at the centre, after it was mended.</param>
public sealed record AnalysisDrillResult(
    int Slices, AnalysisFinished? Result, long AnsweredMs, bool LineWasDown, IReadOnlyList<string> AtSite, IReadOnlyList<string> AtCentre, bool UrgentAtCentre, int FhirAtSite, int InConsole)
{
    private static readonly string[] Derived = ["OT", "SEG", "SR"];

    /// <summary>Segmentation, report, picture and Observations were at the site without the line, and the findings are at the centre now, the urgent result too.</summary>
    public bool Passed => Result is { Outcome: "findings", Findings.Count: > 0 and var findings } && LineWasDown && UrgentAtCentre && FhirAtSite == findings && InConsole == findings
        && Derived.All(AtSite.Contains) && Derived.All(AtCentre.Contains);
}

/// <summary>A CT comes to a site whose line is down; a model there answers with a segmentation and a report, and all of it reaches the centre when the line is mended.</summary>
public sealed class AnalysisDrill(string folder, Action<string> say)
{
    private const int Slices = 60;
    private const int Seed = 7;

    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);

    /// <summary>Runs the drill. Leaves nothing running.</summary>
    /// <exception cref="InvalidOperationException">A node did not start, or storescu failed.</exception>
    public async Task<AnalysisDrillResult> RunAsync(CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(Patience);
        var site = LocalSite.Prepare(folder, LocalSite.DcmtkPeers, LocalPorts.Free());
        say("Starting the centre and one site with the model 'nodule' (drawn phantoms only; not for clinical use) ...");
        await using var centre = await site.StartCentreAsync(limit.Token);
        await using var line = new LinkRelay(site.Ports.SiteLink, site.Ports.CentreLink);
        await using var edge = await site.StartEdgeAsync(["--ai-infer:rules:0:model=nodule", "--ai-infer:quietSeconds=2", "--ai-infer:rules:0:secondaryCapture=true"], limit.Token);
        using var atSite = site.EdgeClient();
        using var atCentre = site.CentreClient();

        say($"The line is down. Sending a CT of {Slices} slices to the site ...");
        var sent = Path.Combine(folder, "ct");
        CtStudy.WriteFiles(sent, Slices, 1, Seed);
        await SendAsync(sent, site.Ports.Dicom, limit.Token);
        var started = Stopwatch.GetTimestamp();

        AnalysisFinished? result = null;
        await UntilAsync(async () => (result = await ResultAsync(atSite, limit.Token)) is not null, limit.Token);
        var answered = (long)Stopwatch.GetElapsedTime(started).TotalMilliseconds;
        if (result is null)
        {
            return new AnalysisDrillResult(Slices, null, answered, true, [], [], false, 0, 0);
        }

        say(string.Create(CultureInfo.InvariantCulture, $"{result.Model} {result.Version}: {result.Outcome}, {result.Findings.Count} findings after {answered / 1000.0:0.0} s. {result.Reason}"));
        IReadOnlyList<string> here = [], there = [];
        await UntilAsync(async () => (here = await ModalitiesAsync(atSite, result.StudyInstanceUid, limit.Token)).Count >= 4 || result.Outcome != "findings", limit.Token);

        say("Mending the line ...");
        line.Open();
        await UntilAsync(async () => (there = await ModalitiesAsync(atCentre, result.StudyInstanceUid, limit.Token)).Count >= here.Count, limit.Token);
        var urgent = false;
        await UntilAsync(async () => urgent = await IsUrgentAsync(atCentre, limit.Token), limit.Token);
        IReadOnlyList<SiteAnalysis> shown = [];
        await UntilAsync(async () => (shown = await FindingsAsync(atCentre, result.StudyInstanceUid, limit.Token)).Count > 0, limit.Token);
        return new AnalysisDrillResult(
            Slices, result, answered, true, here, there, urgent, result.Observations.Count(IsObservation), shown.Sum(s => s.Result.Findings.Count));
    }

    /// <summary>As a modality would: by dcmtk's storescu where it is installed, else by our own.</summary>
    private static async Task SendAsync(string files, int port, CancellationToken cancellationToken)
    {
        if (File.Exists("/usr/bin/storescu"))
        {
            using var storescu = Process.Start("/usr/bin/storescu", ["-aec", LocalSite.AeTitle, "+sd", "127.0.0.1", port.ToString(CultureInfo.InvariantCulture), files]);
            await storescu.WaitForExitAsync(cancellationToken);
            if (storescu.ExitCode != 0)
            {
                throw new InvalidOperationException($"storescu ended with {storescu.ExitCode}.");
            }

            return;
        }

        var ledger = new Ledger();
        await new Scanner(port, ledger).SendAllAsync(InstanceFile.ReadFolder(files, ledger), cancellationToken);
    }

    private static async Task<AnalysisFinished?> ResultAsync(HttpClient http, CancellationToken cancellationToken) =>
        await http.GetFromJsonAsync("ai-infer/results", ContractsJson.Default.IReadOnlyListAnalysisFinished, cancellationToken) is [var newest, ..] ? newest : null;

    private static async Task<IReadOnlyList<string>> ModalitiesAsync(HttpClient http, string study, CancellationToken cancellationToken)
    {
        using var answer = await http.GetAsync($"pacs-gw/dicom-web/studies/{study}/series", cancellationToken);
        var text = await answer.Content.ReadAsStringAsync(cancellationToken);
        if (!answer.IsSuccessStatusCode || text.Length == 0)
        {
            return [];
        }

        using var json = JsonDocument.Parse(text);
        return [.. json.RootElement.EnumerateArray().Select(s => s.GetProperty("00080060").GetProperty("Value")[0].GetString()!).Order(StringComparer.Ordinal)];
    }

    /// <summary>What the console asks for its page of models.</summary>
    private static async Task<IReadOnlyList<SiteAnalysis>> FindingsAsync(HttpClient http, string study, CancellationToken cancellationToken) =>
        await http.GetFromJsonAsync($"fleet/findings?study={study}", ContractsJson.Default.IReadOnlyListSiteAnalysis, cancellationToken) ?? [];

    private static bool IsObservation(string resource)
    {
        using var json = JsonDocument.Parse(resource);
        return json.RootElement.GetProperty("resourceType").GetString() == "Observation";
    }

    private static async Task<bool> IsUrgentAsync(HttpClient http, CancellationToken cancellationToken)
    {
        long after = 0;
        while (await http.GetFromJsonAsync($"fleet/events?after={after}&limit=500", ContractsJson.Default.IReadOnlyListLogEvent, cancellationToken) is { Count: > 0 } events)
        {
            if (events.Any(e => e is { Type: AnalysisFinished.EventType, Lane: "urgent" }))
            {
                return true;
            }

            after = events[^1].Position;
        }

        return false;
    }

    /// <summary>Looks until it holds or the time is over; what is then not there, the result says.</summary>
    private static async Task UntilAsync(Func<Task<bool>> holds, CancellationToken cancellationToken)
    {
        try
        {
            while (!await holds())
            {
                await Task.Delay(TimeSpan.FromMilliseconds(200), TimeProvider.System, cancellationToken);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or HttpRequestException)
        {
            // The time is over, or a node stopped answering.
        }
    }
}
