using System.Globalization;
using System.Text;
using CsvHelper;
using CsvHelper.Configuration;
using MiniExcelLibs;
using Yizhan.Contracts;

namespace Yizhan.Inventory.Collect;

/// <summary>
/// Rows of a stock list, as hospitals' systems export them: CSV in UTF-8 or GB 18030 (GBK), separated by comma, semicolon or tab, or XLSX. The first row names the columns, in English
/// or Chinese. Rows are read one at a time, whatever the file's size.
/// </summary>
internal static class StockTable
{
    private const int MaxField = 4096;

    private static readonly Dictionary<string, string> Columns = new(StringComparer.OrdinalIgnoreCase)
    {
        ["item"] = "item",
        ["code"] = "item",
        ["编码"] = "item",
        ["物资编码"] = "item",
        ["耗材编码"] = "item",
        ["药品编码"] = "item",
        ["gtin"] = "gtin",
        ["udi"] = "gtin",
        ["name"] = "name",
        ["名称"] = "name",
        ["品名"] = "name",
        ["category"] = "category",
        ["类别"] = "category",
        ["lot"] = "lot",
        ["batch"] = "lot",
        ["批号"] = "lot",
        ["expiry"] = "expiry",
        ["expiration"] = "expiry",
        ["有效期"] = "expiry",
        ["失效日期"] = "expiry",
        ["quantity"] = "quantity",
        ["qty"] = "quantity",
        ["数量"] = "quantity",
        ["库存"] = "quantity",
        ["库存数量"] = "quantity",
        ["unit"] = "unit",
        ["单位"] = "unit",
        ["location"] = "location",
        ["库位"] = "location",
        ["科室"] = "location",
        ["仓库"] = "location",
        ["kind"] = "kind",
        ["类型"] = "kind",
        ["time"] = "time",
        ["时间"] = "time",
        ["patient"] = "patient",
        ["患者"] = "patient",
        ["study"] = "study",
        ["reference"] = "reference",
        ["备注"] = "reference",
    };

    private static readonly string[] Days = ["yyyy-MM-dd", "yyyy/MM/dd", "yyyy/M/d", "yyyyMMdd", "yyyy.MM.dd", "yyyy年M月d日", "yyyy-MM-dd HH:mm:ss", "yyyy-MM-ddTHH:mm:ss"];

    /// <summary>The rows as movements, with what they say of the item.</summary>
    /// <exception cref="FormatException">A row cannot be read; the message names line, column and what would be accepted.</exception>
    public static IEnumerable<(Movement Movement, ItemDefinition? Item)> Read(DroppedFile file, string location)
    {
        using var rows = (file.Path.EndsWith(".xlsx", StringComparison.OrdinalIgnoreCase) ? Workbook(file.Path) : Text(file)).GetEnumerator();
        if (!rows.MoveNext())
        {
            throw new FormatException($"{Path.GetFileName(file.Path)} is empty; accepted: a row of column names, then rows.");
        }

        var columns = rows.Current.Select(name => Columns.GetValueOrDefault(name.Trim().Trim('\uFEFF'))).ToArray();
        if (!columns.Contains("quantity") || (!columns.Contains("item") && !columns.Contains("gtin")))
        {
            throw new FormatException($"{Path.GetFileName(file.Path)}: the columns are '{string.Join("', '", rows.Current)}'; needed are item (编码) or gtin, and quantity (数量).");
        }

        for (var line = 2; rows.MoveNext(); line++)
        {
            if (rows.Current.All(string.IsNullOrWhiteSpace))
            {
                continue;
            }

            if (rows.Current.Length != columns.Length)
            {
                throw new FormatException($"{Path.GetFileName(file.Path)}, line {line}: {rows.Current.Length} fields where the first line names {columns.Length}; the file may be cut off.");
            }

            yield return Row(columns, rows.Current, $"{Path.GetFileName(file.Path)}, line {line}", file.ModifiedMs, location);
        }
    }

    private static (Movement, ItemDefinition?) Row(string?[] columns, string[] fields, string place, long modifiedMs, string location)
    {
        string Of(string column) => Array.IndexOf(columns, column) is >= 0 and var i ? fields[i].Trim() : "";
        var code = Of("item") is { Length: > 0 } given ? given : Of("gtin") is { Length: > 0 } gtin ? $"gtin:{gtin.PadLeft(14, '0')}" : throw new FormatException($"{place}: item is empty.");
        if (!decimal.TryParse(Of("quantity"), NumberStyles.Number, CultureInfo.InvariantCulture, out var quantity))
        {
            throw new FormatException($"{place}: quantity is '{Of("quantity")}'; accepted: a number such as 12 or 0.5.");
        }

        var expiry = Of("expiry") is { Length: > 0 } day ? Day(day, place).ToString("yyyy-MM-dd", CultureInfo.InvariantCulture) : "";
        var movement = new Movement(
            Of("kind") is { Length: > 0 } kind ? kind.ToLowerInvariant() : "count", code, quantity, Of("unit"), Of("time") is { Length: > 0 } time ? Time(time, place) : modifiedMs,
            Of("lot"), expiry, Of("location") is { Length: > 0 } own ? own : location, PatientId: Of("patient"), StudyInstanceUid: Of("study"), Reference: Of("reference"));
        return (movement, Of("name") is { Length: > 0 } name
            ? new ItemDefinition(code, name, Category(Of("category")), movement.Unit.Length > 0 ? movement.Unit : "piece", Codes: Of("gtin").Length > 0 ? [$"gtin:{Of("gtin").PadLeft(14, '0')}"] : null)
            : null);
    }

    private static IEnumerable<string[]> Text(DroppedFile file)
    {
        using var stream = new FileStream(file.Path, FileMode.Open, FileAccess.Read, FileShare.Read, 1, FileOptions.SequentialScan);
        using var reader = new StreamReader(stream, EncodingOf(file, stream), detectEncodingFromByteOrderMarks: false, bufferSize: 256 * 1024);
        var first = reader.Peek() < 0 ? "" : null;
        using var parser = new CsvParser(reader, new CsvConfiguration(CultureInfo.InvariantCulture)
        {
            DetectDelimiter = true,
            DetectDelimiterValues = [",", ";", "\t"],
            BadDataFound = bad => throw new FormatException($"{Path.GetFileName(file.Path)}, line {bad.Context.Parser!.RawRow}: a quotation mark is where none may be."),
            MaxFieldSize = MaxField,
        });
        while (first is null && Next(parser, file))
        {
            yield return parser.Record!;
        }
    }

    private static bool Next(CsvParser parser, DroppedFile file)
    {
        try
        {
            return parser.Read();
        }
        catch (Exception e) when (e is CsvHelperException or DecoderFallbackException)
        {
            throw new FormatException($"{Path.GetFileName(file.Path)}, line {parser.RawRow + 1}: {e.Message.Split('\n')[0]}", e);
        }
    }

    /// <summary>
    /// UTF-16 with its mark; UTF-8 when all of it is; else GB 18030, of which GBK and GB 2312 are parts, whatever its first bytes claim. The mark is passed over.
    /// </summary>
    private static Encoding EncodingOf(DroppedFile file, FileStream stream)
    {
        Span<byte> mark = stackalloc byte[4];
        var read = stream.ReadAtLeast(mark, 4, throwOnEndOfStream: false);
        mark = mark[..read];
        var (encoding, skip) =
            mark.StartsWith<byte>([0xFF, 0xFE]) ? (new UnicodeEncoding(false, false, throwOnInvalidBytes: true), 2)
            : mark.StartsWith<byte>([0xFE, 0xFF]) ? (new UnicodeEncoding(true, false, throwOnInvalidBytes: true), 2)
            : (file.IsUtf8 ? new UTF8Encoding(false, throwOnInvalidBytes: true) : Gb18030(), mark.StartsWith<byte>([0xEF, 0xBB, 0xBF]) ? 3 : 0);
        stream.Position = skip;
        return encoding;
    }

    private static Encoding Gb18030() => CodePagesEncodingProvider.Instance.GetEncoding("GB18030", EncoderFallback.ExceptionFallback, DecoderFallback.ExceptionFallback)!;

    private static IEnumerable<string[]> Workbook(string path)
    {
        using var stream = File.OpenRead(path);
        foreach (IDictionary<string, object?> row in MiniExcel.Query(stream, useHeaderRow: false, excelType: ExcelType.XLSX).Cast<IDictionary<string, object?>>())
        {
            yield return [.. row.Values.Select(value => value switch
            {
                null => "",
                DateTime day => day.ToString("yyyy-MM-dd", CultureInfo.InvariantCulture),
                IFormattable number => number.ToString(null, CultureInfo.InvariantCulture),
                _ => value.ToString()!,
            })];
        }
    }

    private static DateOnly Day(string text, string place) =>
        DateTime.TryParseExact(text, Days, CultureInfo.InvariantCulture, DateTimeStyles.None, out var day)
            ? DateOnly.FromDateTime(day)
            : throw new FormatException($"{place}: expiry is '{text}'; accepted: a day such as 2026-03-31, 2026/3/31 or 20260331.");

    private static long Time(string text, string place) =>
        text.AsSpan().ContainsAny("Z+") && DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.None, out var time)
            ? time.ToUnixTimeMilliseconds()
            : throw new FormatException($"{place}: time is '{text}'; accepted: a time with its zone, such as 2026-03-01T08:00:00+08:00.");

    private static string Category(string text) => text switch
    {
        "drug" or "药品" => "drug",
        "reagent" or "试剂" => "reagent",
        _ => "consumable",
    };
}
