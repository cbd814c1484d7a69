using System.Globalization;
using System.Text;
using Microsoft.Data.Sqlite;
using Yizhan.PacsGw.Archive;

namespace Yizhan.PacsGw.DicomWeb;

/// <summary>A query could not become SQL; the message is for the client and has no value from the query in it.</summary>
internal sealed class QidoException(string message) : Exception(message);

/// <summary>
/// Turns a search into one statement. Values only ever become parameters; what is concatenated are our own column names and tags
/// as hex digits.
/// </summary>
internal sealed class QidoSql
{
    private readonly StringBuilder _where = new();
    private readonly List<object> _values = [];

    /// <summary>The statement; it returns one row more than the limit when there are further results.</summary>
    /// <exception cref="QidoException">A value has the wrong form for its attribute, or the search is too broad.</exception>
    public static SqliteCommand Build(SqliteConnection db, QidoQuery query, string? study, string? series)
    {
        var sql = new QidoSql();
        if (study is not null)
        {
            sql.And($"study.uid = {sql.Bind(study)}");
        }

        if (series is not null)
        {
            sql.And($"series.uid = {sql.Bind(series)}");
        }

        var narrow = study is not null || query.Level == ArchiveLevel.Study
            || query.Matches.Exists(m => m.Value.Length > 0 && m.Key is { Kind: MatchKind.Uid, Column: not null });
        foreach (var (key, value) in query.Matches.Where(m => m.Value.Length > 0))
        {
            if (key.Column is null && key.Level != ArchiveLevel.Study && !narrow)
            {
                throw new QidoException($"{key.Keyword} has no index: name the study as well, or another UID.");
            }

            sql.Match(key, value);
        }

        // Variants of an instance are kept but not offered: a client could not tell them apart by their UIDs.
        if (query.Level == ArchiveLevel.Instance)
        {
            sql.And("instance.variant = 0");
        }

        var command = db.Command($"""
            SELECT study.uid, CAST(study.json AS BLOB), study.modalities, study.series, study.instances{Columns(query.Level)}
            FROM {From(query.Level)}
            {sql._where}
            ORDER BY {Order(query.Level)}
            LIMIT {query.Limit + 1L} OFFSET {query.Offset}
            """, sql._values.ToArray());
        return command;
    }

    private static string Columns(ArchiveLevel level) => level switch
    {
        ArchiveLevel.Study => "",
        ArchiveLevel.Series => ", series.uid, CAST(series.json AS BLOB), series.instances",
        _ => ", series.uid, CAST(series.json AS BLOB), series.instances, instance.sop_uid, CAST(metadata.json AS BLOB), "
            + "instance.transfer_syntax",
    };

    private static string From(ArchiveLevel level) => level switch
    {
        ArchiveLevel.Study => "study",
        ArchiveLevel.Series => "series JOIN study ON study.pk = series.study",
        _ => "instance JOIN series ON series.pk = instance.series JOIN study ON study.pk = series.study "
            + "JOIN metadata ON metadata.instance = instance.pk",
    };

    private static string Order(ArchiveLevel level) => level switch
    {
        ArchiveLevel.Study => "study.pk DESC",
        ArchiveLevel.Series => "study.pk DESC, series.number, series.pk",
        _ => "study.pk DESC, series.number, series.pk, instance.number, instance.pk",
    };

    private void Match(MatchKey key, string value)
    {
        if (key.Path is [MatchKey.ModalitiesInStudy])
        {
            And($"EXISTS (SELECT 1 FROM series AS s WHERE s.study = study.pk AND {Text("s.modality", value)})");
        }
        else if (key is { Kind: MatchKind.Name, Level: ArchiveLevel.Study, Path: [0x00100010 or 0x00080090] })
        {
            foreach (var group in PersonName.FoldGroups(value))
            {
                And($"study.pk IN (SELECT study FROM person_name WHERE tag = {key.Path[0]} AND {Text("folded", group)})");
            }
        }
        else if (key.Column is not null)
        {
            And(Condition(key, key.Column, value, normalized: true));
        }
        else
        {
            And(InJson(key, value));
        }
    }

    /// <summary>A condition on an attribute that only the JSON has. Any of several values, and any item of a sequence, may match.</summary>
    private string InJson(MatchKey key, string value)
    {
        var from = new StringBuilder();
        var json = key.Level switch
        {
            ArchiveLevel.Study => "study.json",
            ArchiveLevel.Series => "series.json",
            _ => "metadata.json",
        };
        for (var i = 0; i < key.Path.Count; i++)
        {
            from.Append(i == 0 ? "" : ", ").Append(CultureInfo.InvariantCulture, $"json_each({json}, '$.{key.Path[i]:X8}.Value') AS v{i}");
            json = $"v{i}.value";
        }

        var condition = key.Kind == MatchKind.Name
            ? string.Join(" AND ", PersonName.FoldGroups(value).Select(group =>
                $"EXISTS (SELECT 1 FROM json_each({json}) AS g WHERE {Text("name_fold(g.value)", group)})"))
            : Condition(key, json, value, normalized: false);
        return $"EXISTS (SELECT 1 FROM {from} WHERE {condition})";
    }

    private string Condition(MatchKey key, string expression, string value, bool normalized) => key.Kind switch
    {
        MatchKind.Uid => $"{expression} IN ({string.Join(", ", Uids(key, value).Select(Bind))})",
        MatchKind.Date => Date(key, normalized ? expression : $"replace({expression}, '.', '')", value),
        MatchKind.Time => Time(
            key, normalized ? expression : $"substr(replace({expression}, '.', '') || '000000000000', 1, 12)", value),
        MatchKind.Number => Number(key, expression, value),
        _ => Text(expression, value),
    };

    private static string[] Uids(MatchKey key, string value)
    {
        var uids = value.Split(',', '\\');
        return uids.Length <= 1000 && uids.All(u => Uid.IsValid(u))
            ? uids
            : throw new QidoException($"{key.Keyword} must be a UID or at most 1000 of them separated by commas.");
    }

    private string Text(string expression, string value)
    {
        if (!value.AsSpan().ContainsAny('*', '?'))
        {
            return $"{expression} = {Bind(value)}";
        }

        // GLOB's * and ? are DICOM's; only the bracket has to lose its meaning. The range lets the index find a leading constant.
        var glob = $"{expression} GLOB {Bind(value.Replace("[", "[[]", StringComparison.Ordinal))}";
        var constant = value[..value.AsSpan().IndexOfAny('*', '?')];
        return constant.Length == 0 ? glob : $"{expression} >= {Bind(constant)} AND {expression} < {Bind(constant + "\U0010FFFF")} AND {glob}";
    }

    private string Date(MatchKey key, string expression, string value)
    {
        var (from, to) = Range(value);
        if ((from.Length == 0 && to.Length == 0) || !IsDate(from) || !IsDate(to))
        {
            throw new QidoException($"{key.Keyword} must be YYYYMMDD, YYYYMMDD-, -YYYYMMDD or YYYYMMDD-YYYYMMDD.");
        }

        return Between(expression, from, to);

        static bool IsDate(string date) => date.Length == 0 || DicomDate.IsValid(date);
    }

    private string Time(MatchKey key, string expression, string value)
    {
        var (from, to) = Range(value);
        if ((from.Length == 0 && to.Length == 0) || !IsTime(from) || !IsTime(to))
        {
            throw new QidoException($"{key.Keyword} must be a time such as 0930 or 093015.5, or a range such as 0930-1000.");
        }

        return Between(
            expression, from.Length == 0 ? "" : DicomTime.Earliest(from), to.Length == 0 ? "" : DicomTime.Latest(to));

        static bool IsTime(string time) => time.Length == 0 || DicomTime.IsValid(time);
    }

    /// <summary>An attribute without a value matches no range.</summary>
    private string Between(string expression, string from, string to) =>
        $"{expression} <> ''"
        + (from.Length == 0 ? "" : $" AND {expression} >= {Bind(from)}")
        + (to.Length == 0 ? "" : $" AND {expression} <= {Bind(to)}");

    private string Number(MatchKey key, string expression, string value) =>
        double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && double.IsFinite(number)
            ? $"CAST({expression} AS REAL) = {Bind(number)}"
            : throw new QidoException($"{key.Keyword} must be a number.");

    private static (string From, string To) Range(string value)
    {
        var dash = value.IndexOf('-', StringComparison.Ordinal);
        return dash < 0 ? (value, value) : (value[..dash], value[(dash + 1)..]);
    }

    private void And(string condition) => _where.Append(_where.Length == 0 ? "WHERE " : "\nAND ").Append(condition);

    private string Bind(object value)
    {
        _values.Add(value);
        return $"${_values.Count}";
    }
}
