using System.Globalization;
using Dapper;
using Microsoft.Data.Sqlite;

namespace Yizhan.AiInfer.Rollout;

/// <summary>Judges a version by what it did.</summary>
internal static class Guard
{
    private const int Bins = 5;
    private const double DisagreementMl = 0.5;
    private const double DisagreementPart = 0.3;
    private const double NoticeableMs = 1000;

    /// <summary>Why a version must be held; null when it need not.</summary>
    public static string? Judge(SqliteConnection c, string model, string version, State state, GuardOptions limits)
    {
        if (version != state.Stable && version != state.Candidate || state.Stopped is not null)
        {
            return null;
        }

        var own = Newest(c, model, version, limits.Window, 0);
        var failed = own.Count(o => !o.Ok);
        if (own.Count >= limits.MinSeries && failed > limits.MaxErrorRatio * own.Count)
        {
            return Text($"it failed on {failed} of its newest {own.Count} series; accepted: {limits.MaxErrorRatio:P0}");
        }

        return version == state.Stable ? JudgeStable(DriftOf(c, model, version, limits), limits) : JudgeCandidate(own, Newest(c, model, state.Stable, limits.Window, 0), limits);
    }

    /// <summary>
    /// How far the newest series of a version are from the first that it saw here, which are its reference: inputs and results, each with its number of series. Null while there
    /// are too few.
    /// </summary>
    public static ((double Index, int Series)? Inputs, (double Index, int Series)? Results) DriftOf(SqliteConnection c, string model, string version, GuardOptions limits)
    {
        var own = Newest(c, model, version, limits.Window, 0);
        var reference = c.Query<Row>(
            "SELECT series_uid AS Series, ok, ms, total_ml AS TotalMl, input_mean AS InputMean FROM outcome WHERE model = @model AND version = @version ORDER BY id LIMIT @Window",
            new { model, version, limits.Window }).ToList();
        return reference.Count < limits.Window || own.Count < limits.Window || own.Any(o => reference.Any(r => r.Series == o.Series))
            ? default
            : (Index(reference, own, r => r.InputMean, limits), Index(reference, own, r => r.TotalMl, limits));
    }

    /// <summary>How many of the newest series of a version there are, how many failed, and their median time; null while there is none.</summary>
    public static (int Series, int Failed, double? MedianMs) FiguresOf(SqliteConnection c, string model, string version, GuardOptions limits)
    {
        var own = Newest(c, model, version, limits.Window, 0);
        return (own.Count, own.Count(o => !o.Ok), own.Count == 0 ? null : Median(own));
    }

    /// <summary>Population stability index: Σ (a − b)·ln(a/b) over the bins of the reference's quantiles.</summary>
    internal static double StabilityIndex(IReadOnlyList<double> reference, IReadOnlyList<double> now)
    {
        var sorted = reference.Order().ToArray();
        var edges = Enumerable.Range(1, Bins - 1).Select(i => sorted[i * sorted.Length / Bins]).Distinct().ToArray();
        double[] Parts(IReadOnlyList<double> values)
        {
            var counts = new double[edges.Length + 1];
            foreach (var value in values)
            {
                counts[edges.Count(edge => value >= edge)]++;
            }

            // Half a count more in each bin: an empty one would make the index infinite.
            return [.. counts.Select(n => (n + 0.5) / (values.Count + 0.5 * counts.Length))];
        }

        return Parts(reference).Zip(Parts(now), (a, b) => (b - a) * Math.Log(b / a)).Sum();
    }

    private static string? JudgeStable(((double Index, int Series)? Inputs, (double Index, int Series)? Results) drift, GuardOptions limits) =>
        TooFar("its inputs", drift.Inputs, limits) ?? TooFar("its results", drift.Results, limits);

    private static string? JudgeCandidate(List<Row> own, List<Row> stable, GuardOptions limits)
    {
        var (good, reference) = (own.Where(o => o.Ok).ToList(), stable.Where(o => o.Ok).ToList());
        var both = (from a in good join b in reference on a.Series equals b.Series select (A: a.TotalMl ?? 0, B: b.TotalMl ?? 0)).ToList();
        var differ = both.Count(p => Math.Abs(p.A - p.B) > Math.Max(DisagreementMl, DisagreementPart * Math.Max(p.A, p.B)));
        if (both.Count >= limits.MinSeries && differ > limits.MaxDisagreement * both.Count)
        {
            return Text($"it disagrees with the version for all on {differ} of {both.Count} series that both have seen; accepted: {limits.MaxDisagreement:P0}");
        }

        // A second more is what a person can notice; below it a ratio says more about the machine than about the model.
        if (good.Count >= limits.MinSeries && reference.Count >= limits.MinSeries && Median(good) is var mine && Median(reference) is var theirs
            && mine > limits.MaxLatencyRatio * theirs && mine > theirs + NoticeableMs)
        {
            return Text($"it takes {mine:0} ms for a series, the version for all {theirs:0} ms; accepted: {limits.MaxLatencyRatio:0.#} times as long");
        }

        return good.Count >= limits.MinForDrift && reference.Count >= limits.MinForDrift ? TooFar("its results", Index(reference, good, r => r.TotalMl, limits), limits) : null;
    }

    private static (double Index, int Series)? Index(List<Row> reference, List<Row> now, Func<Row, double?> value, GuardOptions limits)
    {
        var (a, b) = (reference.Select(value).OfType<double>().ToList(), now.Select(value).OfType<double>().ToList());
        return a.Count >= limits.MinForDrift && b.Count >= limits.MinForDrift ? (StabilityIndex(a, b), b.Count) : null;
    }

    private static string? TooFar(string what, (double Index, int Series)? drift, GuardOptions limits) => drift is { } far && far.Index > limits.MaxDrift
        ? Text($"{what} have drifted: population stability index {far.Index:0.00} over {far.Series} series; accepted: {limits.MaxDrift:0.##}")
        : null;

    private static List<Row> Newest(SqliteConnection c, string model, string version, int count, int skip) => c.Query<Row>(
        "SELECT series_uid AS Series, ok, ms, total_ml AS TotalMl, input_mean AS InputMean FROM outcome WHERE model = @model AND version = @version ORDER BY id DESC LIMIT @count OFFSET @skip",
        new { model, version, count, skip }).ToList();

    private static double Median(List<Row> rows) => rows.Select(r => r.Ms).Order().ElementAt(rows.Count / 2);

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    private sealed class Row
    {
        public string Series { get; init; } = "";

        public bool Ok { get; init; }

        public double Ms { get; init; }

        public double? TotalMl { get; init; }

        public double? InputMean { get; init; }
    }
}
