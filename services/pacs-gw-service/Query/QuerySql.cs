using System.Globalization;
using System.Text;
using Microsoft.Data.Sqlite;
using Yizhan.PacsGw.Archive;

namespace Yizhan.PacsGw.Query;

/// <summary>
/// Turns a search into one statement: the matching rules of PS3.4 §C.2.2.2. Values only ever become parameters; what is
/// concatenated are our own column names and tags as hex digits.
/// </summary>
internal sealed class QuerySql
{
    private const int MaxValues = 1000;

    private readonly StringBuilder _where = new();
    private readonly List<object> _values = [];
    private readonly bool _fuzzy;
    private int _aliases;

    private QuerySql(bool fuzzy) => _fuzzy = fuzzy;

    /// <summary>
    /// The statement; it returns one row more than the limit when there are further results, newest study first. Columns: study UID, study JSON,
    /// modalities, series and instances of the study; from series level series UID, series JSON, instances of the series; at
    /// instance level SOP Instance UID, instance JSON, transfer syntax.
    /// </summary>
    /// <exception cref="QueryException">A value has the wrong form for its attribute, or the search is too broad.</exception>
    public static SqliteCommand Build(SqliteConnection db, ArchiveQuery query)
    {
        var sql = new QuerySql(query.Fuzzy);
        sql.Restrict(query);
        return db.Command($"""
            SELECT study.uid, CAST(study.json AS BLOB), study.modalities, study.series, study.instances{Columns(query.Level)}
            FROM {From(query)}
            {sql._where}
            ORDER BY {Order(query.Level)}
            LIMIT {query.Limit + 1L} OFFSET {query.Offset}
            """, sql._values.ToArray());
    }

    /// <summary>The keys of the instances that a search at any level is about, so that they can be retrieved: first variants, oldest first.</summary>
    /// <exception cref="QueryException">A value has the wrong form for its attribute, or the search is too broad.</exception>
    public static SqliteCommand BuildInstances(SqliteConnection db, ArchiveQuery query)
    {
        var sql = new QuerySql(query.Fuzzy);
        sql.Restrict(query);
        sql.And("instance.variant = 0");
        return db.Command($"""
            SELECT instance.pk FROM study CROSS JOIN series ON series.study = study.pk CROSS JOIN instance ON instance.series = series.pk
            {sql._where}
            ORDER BY instance.pk
            LIMIT {query.Limit + 1L}
            """, sql._values.ToArray());
    }

    /// <summary>The worklist entries that match, earliest first: their data sets as JSON.</summary>
    /// <exception cref="QueryException">A value has the wrong form for its attribute.</exception>
    public static SqliteCommand BuildWorklist(SqliteConnection db, ArchiveQuery query)
    {
        var sql = new QuerySql(query.Fuzzy);
        sql.And("worklist.open = 1");
        sql.MatchItem("worklist.json", query.Matches, depth: 0);
        return db.Command($"""
            SELECT CAST(worklist.json AS BLOB) FROM worklist
            {sql._where}
            ORDER BY worklist.start, worklist.id
            LIMIT {query.Limit + 1L}
            """, sql._values.ToArray());
    }

    private static string Columns(ArchiveLevel level) => level switch
    {
        ArchiveLevel.Study => "",
        ArchiveLevel.Series => ", series.uid, CAST(series.json AS BLOB), series.instances",
        _ => ", series.uid, CAST(series.json AS BLOB), series.instances, instance.sop_uid, CAST(metadata.json AS BLOB), "
            + "instance.transfer_syntax",
    };

    /// <summary>
    /// CROSS JOIN fixes the order of the loops. From the study down, the index by date delivers the order of the results, so a limit
    /// ends the search early; a UID below the study is looked up first, whatever the archive's size.
    /// </summary>
    private static string From(ArchiveQuery query)
    {
        var from = query.Level switch
        {
            ArchiveLevel.Study => "study",
            ArchiveLevel.Series when HasUid(query, ArchiveLevel.Series) => "series CROSS JOIN study ON study.pk = series.study",
            ArchiveLevel.Series => "study CROSS JOIN series ON series.study = study.pk",
            _ when HasUid(query, ArchiveLevel.Instance) =>
                "instance CROSS JOIN series ON series.pk = instance.series CROSS JOIN study ON study.pk = series.study",
            _ when HasUid(query, ArchiveLevel.Series) =>
                "series CROSS JOIN study ON study.pk = series.study CROSS JOIN instance ON instance.series = series.pk",
            _ => "study CROSS JOIN series ON series.study = study.pk CROSS JOIN instance ON instance.series = series.pk",
        };
        return query.Level == ArchiveLevel.Instance ? from + " CROSS JOIN metadata ON metadata.instance = instance.pk" : from;
    }

    private static bool HasUid(ArchiveQuery query, ArchiveLevel level) =>
        (level == ArchiveLevel.Series && query.Series is not null)
        || query.Matches.Exists(m => m.Value.Length > 0 && m.Key.Level == level && m.Key.Path is [0x0020000E or 0x00080018]);

    private static string Order(ArchiveLevel level) => level switch
    {
        ArchiveLevel.Study => "study.study_date DESC, study.study_time DESC, study.pk DESC",
        ArchiveLevel.Series => "study.study_date DESC, study.study_time DESC, study.pk DESC, series.number, series.pk",
        _ => "study.study_date DESC, study.study_time DESC, study.pk DESC, series.number, series.pk, instance.number, instance.pk",
    };

    private void Restrict(ArchiveQuery query)
    {
        if (query.Study is not null)
        {
            And($"study.uid = {Bind(query.Study)}");
        }

        if (query.Series is not null)
        {
            And($"series.uid = {Bind(query.Series)}");
        }

        var narrow = query.Study is not null
            || query.Matches.Exists(m => m.Value.Length > 0 && m.Key is { Kind: MatchKind.Uid, Column: not null });
        var terms = query.Matches.Where(m => m.Value.Length > 0).ToList();
        if (!narrow && terms.Find(t => t.Key.Column is null && t.Key.Level != ArchiveLevel.Study).Key is { } key)
        {
            throw new QueryException($"{key.Keyword} has no index: name the study as well, or another UID.");
        }

        if (query.CombinesDateAndTime)
        {
            CombineStudyDateAndTime(terms);
        }

        foreach (var term in terms.Where(t => t.Key.Path.Count == 1))
        {
            MatchIndexed(term.Key, term.Value);
        }

        foreach (var sequence in terms.Where(t => t.Key.Path.Count > 1).GroupBy(t => t.Key.Path[0]))
        {
            And(InItem(JsonOf(sequence.First().Key.Level), [.. sequence], depth: 0));
        }

        // Variants of an instance are kept but not offered: a client could not tell them apart by their UIDs.
        if (query.Level == ArchiveLevel.Instance)
        {
            And("instance.variant = 0");
        }

        if (query.PerPatient)
        {
            And("NOT EXISTS (SELECT 1 FROM study AS later WHERE later.patient = study.patient AND later.pk > study.pk)");
        }
    }

    /// <summary>PS3.4 §C.2.2.2.5.2: both given as ranges, they are one; the dates alone still find the rows through their index.</summary>
    private void CombineStudyDateAndTime(List<MatchTerm> terms)
    {
        var date = terms.Find(t => t.Key.Path is [0x00080020]);
        var time = terms.Find(t => t.Key.Path is [0x00080030]);
        if (date.Key is null || time.Key is null || !IsRange(date.Value) || !IsRange(time.Value))
        {
            return;
        }

        terms.Remove(time);
        And(Combined("study.study_date", "study.study_time", date, time));
    }

    private string Combined(string dateColumn, string timeColumn, MatchTerm date, MatchTerm time)
    {
        var (fromDate, toDate) = Range(date.Value);
        var (fromTime, toTime) = Range(time.Value);
        CheckDates(date.Key, fromDate, toDate);
        CheckTimes(time.Key, fromTime, toTime);
        var instant = $"{dateColumn} || {timeColumn}";
        return $"{dateColumn} <> ''"
            + (fromDate.Length == 0 ? "" : $" AND {instant} >= {Bind(fromDate + DicomTime.Earliest(fromTime))}")
            + (toDate.Length == 0 ? "" : $" AND {instant} <= {Bind(toDate + DicomTime.Latest(toTime))}");
    }

    private void MatchIndexed(MatchKey key, string value)
    {
        switch (key.Path[0])
        {
            case MatchKey.ModalitiesInStudy:
                And($"EXISTS (SELECT 1 FROM series AS s WHERE s.study = study.pk AND {Any(value, v => Text("s.modality", v))})");
                break;
            case MatchKey.SopClassesInStudy:
                And("EXISTS (SELECT 1 FROM series AS s CROSS JOIN instance AS i ON i.series = s.pk "
                    + $"WHERE s.study = study.pk AND i.sop_class IN ({List(Uids(key, value))}))");
                break;
            case MatchKey.PatientName or MatchKey.ReferringPhysicianName:
                And(IndexedName(key.Path[0], value));
                break;
            default:
                And(key.Column is not null
                    ? Condition(key, key.Column, value, normalized: true)
                    : InItem(JsonOf(key.Level), [new MatchTerm(key, value)], depth: 0));
                break;
        }
    }

    private string IndexedName(uint tag, string value)
    {
        if (!_fuzzy)
        {
            var groups = PersonName.FoldGroups(value).ToList();
            return groups.Count == 0
                ? "1 = 1"
                : string.Join(" AND ", groups.Select(group =>
                    $"study.pk IN (SELECT study FROM person_name WHERE tag = {tag} AND {Text("folded", group)})"));
        }

        var words = PersonName.Words(value).ToList();
        if (words.Count == 0)
        {
            throw new QueryException("A fuzzy search for a name needs at least one letter or character.");
        }

        // "Wang Xiao Dong" is three words; the family writes the given name as one. Joined, they are the beginning of one word too.
        var all = string.Join(" AND ", words.Select(word => $"study.pk IN ({WithWord(tag, word)})"));
        return words.Count == 1 ? all : $"(({all}) OR study.pk IN ({WithWord(tag, string.Concat(words))}))";
    }

    private string WithWord(uint tag, string word) => $"SELECT study FROM person_word WHERE tag = {tag} AND {StartsWith("word", word)}";

    /// <summary>
    /// A condition on attributes of one item (or of the data set itself) that only the JSON has: all of them must be met by the same
    /// item (PS3.4 §C.2.2.2.6); any of several values will do.
    /// </summary>
    private string InItem(string json, IReadOnlyList<MatchTerm> terms, int depth)
    {
        var value = $"v{_aliases++}";
        var inner = new QueryPart();
        foreach (var term in terms.Where(t => t.Key.Path.Count == depth + 1))
        {
            inner.And(term.Key.Kind == MatchKind.Name
                ? Name($"{value}.value", term.Value)
                : Condition(term.Key, $"{value}.value", term.Value, normalized: false));
        }

        var deeper = terms.Where(t => t.Key.Path.Count > depth + 1).ToList();
        if (deeper.Count > 0)
        {
            MatchItem(inner, $"{value}.value", deeper, depth + 1);
        }

        return $"EXISTS (SELECT 1 FROM json_each({json}, '$.{terms[0].Key.Path[depth]:X8}.Value') AS {value} WHERE {inner})";
    }

    private void MatchItem(string json, IReadOnlyList<MatchTerm> terms, int depth)
    {
        var part = new QueryPart();
        MatchItem(part, json, [.. terms.Where(t => t.Value.Length > 0)], depth);
        if (!part.IsEmpty)
        {
            And(part.ToString());
        }
    }

    private void MatchItem(QueryPart part, string json, IReadOnlyList<MatchTerm> terms, int depth)
    {
        foreach (var attribute in terms.GroupBy(t => t.Key.Path[depth]))
        {
            part.And(InItem(json, [.. attribute], depth));
        }
    }

    private string Name(string json, string value)
    {
        var folded = _fuzzy ? [] : PersonName.FoldGroups(value).ToList();
        return _fuzzy
            ? $"name_words({json}, {Bind(value)})"
            : folded.Count == 0 ? "1 = 1"
            : string.Join(" AND ", folded.Select(group =>
                $"EXISTS (SELECT 1 FROM json_each({json}) AS g WHERE {Text("name_fold(g.value)", group)})"));
    }

    private static string JsonOf(ArchiveLevel level) => level switch
    {
        ArchiveLevel.Study => "study.json",
        ArchiveLevel.Series => "series.json",
        _ => "(SELECT m.json FROM metadata AS m WHERE m.instance = instance.pk)",
    };

    private string Condition(MatchKey key, string expression, string value, bool normalized) => key.Kind switch
    {
        MatchKind.Uid => $"{expression} IN ({List(Uids(key, value))})",
        MatchKind.Date => Date(key, normalized ? expression : $"replace({expression}, '.', '')", value),
        MatchKind.Time => Time(
            key, normalized ? expression : $"substr(replace(replace({expression}, '.', ''), ':', '') || '000000000000', 1, 12)", value),
        MatchKind.DateTime => DateTime(key, $"date_time({expression})", value),
        MatchKind.Number => Any(value, v => Number(key, expression, v)),
        MatchKind.LongText => Text(expression, value),
        _ => Any(value, v => Text(expression, v)),
    };

    /// <summary>PS3.4 §C.2.2.2.8: any of several values.</summary>
    private static string Any(string value, Func<string, string> condition)
    {
        var values = value.Split('\\');
        return values.Length > MaxValues ? throw new QueryException($"An attribute may be given at most {MaxValues} values.")
            : values.Length == 1 ? condition(value)
            : $"({string.Join(" OR ", values.Where(v => v.Length > 0).Select(condition).DefaultIfEmpty("1 = 1"))})";
    }

    private static string[] Uids(MatchKey key, string value)
    {
        var uids = value.Split(',', '\\');
        return uids.Length <= MaxValues && uids.All(u => Uid.IsValid(u))
            ? uids
            : throw new QueryException($"{key.Keyword} must be a UID or at most {MaxValues} of them separated by commas.");
    }

    private string List(IEnumerable<string> values) => string.Join(", ", values.Select(Bind));

    private string Text(string expression, string value)
    {
        if (!value.AsSpan().ContainsAny('*', '?'))
        {
            return $"{expression} = {Bind(value)}";
        }

        // GLOB's * and ? are DICOM's; only the bracket has to lose its meaning. The range lets the index find a leading constant.
        var constant = value[..value.AsSpan().IndexOfAny('*', '?')];
        var glob = value.AsSpan(constant.Length) is "*" ? null : $"{expression} GLOB {Bind(value.Replace("[", "[[]", StringComparison.Ordinal))}";
        return constant.Length == 0 ? glob ?? "1 = 1"
            : glob is null ? StartsWith(expression, constant) : $"{StartsWith(expression, constant)} AND {glob}";
    }

    private string StartsWith(string expression, string start) =>
        $"{expression} >= {Bind(start)} AND {expression} < {Bind(start + "\U0010FFFF")}";

    private string Date(MatchKey key, string expression, string value)
    {
        var (from, to) = Range(value);
        CheckDates(key, from, to);
        return Between(expression, DicomDate.Normalize(from), DicomDate.Normalize(to));
    }

    private static void CheckDates(MatchKey key, string from, string to)
    {
        if ((from.Length == 0 && to.Length == 0) || !IsDate(from) || !IsDate(to))
        {
            throw new QueryException($"{key.Keyword} must be YYYYMMDD, YYYYMMDD-, -YYYYMMDD or YYYYMMDD-YYYYMMDD.");
        }

        static bool IsDate(string date) => date.Length == 0 || DicomDate.IsValid(DicomDate.Normalize(date));
    }

    private string Time(MatchKey key, string expression, string value)
    {
        var (from, to) = Range(value);
        CheckTimes(key, from, to);
        return Between(
            expression, from.Length == 0 ? "" : DicomTime.Earliest(from), to.Length == 0 ? "" : DicomTime.Latest(to));
    }

    private static void CheckTimes(MatchKey key, string from, string to)
    {
        if ((from.Length == 0 && to.Length == 0) || !IsTime(from) || !IsTime(to))
        {
            throw new QueryException($"{key.Keyword} must be a time such as 0930 or 093015.5, or a range such as 0930-1000.");
        }

        static bool IsTime(string time) => time.Length == 0 || DicomTime.IsValid(time);
    }

    private string DateTime(MatchKey key, string expression, string value) =>
        DicomDateTime.TryParseRange(value, out var from, out var to)
            ? Between(expression, from, to)
            : throw new QueryException($"{key.Keyword} must be a date and time such as 20260102 or 20260102093015.5+0800, or a range of two.");

    /// <summary>An attribute without a value matches no range.</summary>
    private string Between(string expression, string from, string to) =>
        $"{expression} <> ''"
        + (from.Length == 0 ? "" : $" AND {expression} >= {Bind(from)}")
        + (to.Length == 0 ? "" : $" AND {expression} <= {Bind(to)}");

    private string Number(MatchKey key, string expression, string value) =>
        double.TryParse(value, NumberStyles.Float, CultureInfo.InvariantCulture, out var number) && double.IsFinite(number)
            ? $"CAST({expression} AS REAL) = {Bind(number)}"
            : throw new QueryException($"{key.Keyword} must be a number.");

    private static bool IsRange(string value) => value.Contains('-', StringComparison.Ordinal);

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

    /// <summary>Conditions that must all be met.</summary>
    private sealed class QueryPart
    {
        private readonly StringBuilder _text = new();

        public bool IsEmpty => _text.Length == 0;

        public void And(string condition) => _text.Append(_text.Length == 0 ? "" : " AND ").Append(condition);

        public override string ToString() => IsEmpty ? "1 = 1" : _text.ToString();
    }
}
