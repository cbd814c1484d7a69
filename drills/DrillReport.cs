using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json;
using Yizhan.Contracts;

namespace Yizhan.Drills;

/// <summary>The report of a drill as files: JSON for programs, one HTML page without anything from elsewhere for people.</summary>
public static class DrillReport
{
    private static readonly JsonSerializerOptions Indented = new(JsonSerializerDefaults.Web) { WriteIndented = true };

    /// <summary>Writes <c>ID.json</c> and <c>ID.html</c> into a folder.</summary>
    /// <returns>Their paths.</returns>
    public static (string Json, string Html) Write(string folder, DrillFinished report, IReadOnlyList<ProvenRecord> proofs)
    {
        Directory.CreateDirectory(folder);
        var (json, html) = (Path.Combine(folder, report.Id + ".json"), Path.Combine(folder, report.Id + ".html"));
        File.WriteAllText(json, JsonSerializer.Serialize(new { report, proofs }, Indented) + "\n");
        File.WriteAllText(html, Html(report, proofs));
        return (json, html);
    }

    internal static string Html(DrillFinished report, IReadOnlyList<ProvenRecord> proofs)
    {
        var page = new StringBuilder();
        page.Append(CultureInfo.InvariantCulture, $$"""
            <!doctype html>
            <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
            <title>{{Text(report.Id)}}</title>
            <style>
            body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}
            table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #d5dae0;vertical-align:top}
            .ok{color:#17663a}.bad{color:#a4161a;font-weight:600}.n{text-align:right;font-variant-numeric:tabular-nums}
            </style></head><body>
            <h1>Drill {{Text(report.Kind)}}: <span class="{{(report.Passed ? "ok" : "bad")}}">{{(report.Passed ? "passed" : "failed")}}</span></h1>
            <p>{{Text(report.Summary)}}</p>
            <table>

            """);
        foreach (var (name, value) in new (string, string)[]
        {
            ("Run", report.Id),
            ("Against", report.Against),
            ("Began", Time(report.StartedMs)),
            ("Ended", Time(report.FinishedMs)),
            ("Acknowledged", Number(report.Accepted)),
            ("Delivered, equal by hash", Number(report.Delivered)),
            ("Lost", Number(report.Lost)),
            ("More than once", Number(report.Duplicates)),
            ("Recovery time (RTO)", report.RtoSeconds is { } rto ? string.Create(CultureInfo.InvariantCulture, $"{rto:0.00} s") : "not measured"),
            ("Not recovered (RPO)", report.RpoEntries is { } rpo ? Number(rpo) : "not measured"),
            ("Audit", proofs.Count == 0 ? "not recorded" : string.Join("; ", proofs.Select(p => string.Create(CultureInfo.InvariantCulture, $"entry {p.Index}, proven in a tree of {p.Size}")))),
        })
        {
            page.Append(CultureInfo.InvariantCulture, $"<tr><th>{Text(name)}</th><td>{Text(value)}</td></tr>\n");
        }

        page.Append("</table>\n<h2>Checks</h2>\n<table>\n");
        foreach (var check in report.Checks)
        {
            page.Append(CultureInfo.InvariantCulture, $"<tr><td class=\"{(check.Ok ? "ok\">ok" : "bad\">FAILED")}</td><td>{Text(check.Name)}</td><td>{Text(check.Detail)}</td></tr>\n");
        }

        page.Append("</table>\n");
        List(page, "Limits", report.Limits);
        List(page, "Not shown by this run", report.NotShown);
        page.Append("<h2>Course</h2>\n<table>\n");
        foreach (var step in report.Steps)
        {
            page.Append(CultureInfo.InvariantCulture, $"<tr><td class=\"n\">{step.AtSeconds:0.0} s</td><td>{Text(step.Text)}</td></tr>\n");
        }

        return page.Append("</table>\n</body></html>\n").ToString();
    }

    private static void List(StringBuilder page, string title, IReadOnlyList<string> lines)
    {
        if (lines.Count == 0)
        {
            return;
        }

        page.Append(CultureInfo.InvariantCulture, $"<h2>{title}</h2>\n<ul>\n");
        foreach (var line in lines)
        {
            page.Append(CultureInfo.InvariantCulture, $"<li>{Text(line)}</li>\n");
        }

        page.Append("</ul>\n");
    }

    private static string Text(string text) => WebUtility.HtmlEncode(text);

    private static string Number(long number) => number.ToString("N0", CultureInfo.InvariantCulture);

    private static string Time(long ms) => DateTimeOffset.FromUnixTimeMilliseconds(ms).ToString("u", CultureInfo.InvariantCulture);
}
