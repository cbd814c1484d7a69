using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using Spectre.Console;

namespace Yizhan.Bench;

/// <summary>One comparison.</summary>
/// <param name="Case">The peer first, then the load: <c>orthanc, 4 associations</c>.</param>
/// <param name="Ours">Our figure.</param>
/// <param name="Peer">The peer's figure in the same run.</param>
/// <param name="Unit">Unit of both.</param>
/// <param name="Ratio">How many times better we are: above 1 we are ahead.</param>
internal sealed record BenchRow(string Case, double Ours, double Peer, string Unit, double Ratio)
{
    /// <summary>Where the true ratio is with 95 %, from and to; null where that was not worked out.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public double[]? Interval { get; init; }

    /// <summary>A row in which more is better.</summary>
    public static BenchRow More(string @case, double ours, double peer, string unit) => new(@case, ours, peer, unit, ours / peer);

    /// <summary>A row in which less is better.</summary>
    public static BenchRow Less(string @case, double ours, double peer, string unit) => new(@case, ours, peer, unit, peer / ours);
}

/// <summary>What every benchmark prints: a table for people and, last, one JSON object for programs.</summary>
internal static class BenchTable
{
    public static void Print(string bench, IReadOnlyList<BenchRow> rows, bool json)
    {
        if (!json)
        {
            var table = new Table().Border(TableBorder.Simple).AddColumns("case", "ours", "peer", "unit", "ratio");
            foreach (var row in rows)
            {
                table.AddRow(
                    Markup.Escape(row.Case), Number(row.Ours), Number(row.Peer), Markup.Escape(row.Unit),
                    row.Interval is [var low, var high] ? string.Create(CultureInfo.InvariantCulture, $"{row.Ratio:0.000} ({low:0.000} to {high:0.000})") : Number(row.Ratio));
            }

            AnsiConsole.Write(table);
        }

        Console.WriteLine(JsonSerializer.Serialize(
            new { bench, rows = rows.Select(r => r with { Ours = Round(r.Ours), Peer = Round(r.Peer), Ratio = Round(r.Ratio), Interval = r.Interval is { } of ? Array.ConvertAll(of, Round) : null }) },
            JsonSerializerOptions.Web));
    }

    public static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToArray();
        return sorted.Length % 2 == 1
            ? sorted[sorted.Length / 2]
            : (sorted[sorted.Length / 2 - 1] + sorted[sorted.Length / 2]) / 2;
    }

    private static double Round(double value) => double.IsFinite(value) ? Math.Round(value, value < 10 ? 3 : 1) : 0;

    private static string Number(double value) => value.ToString(value < 10 ? "0.00" : "#,0.#", CultureInfo.InvariantCulture);
}
