using System.Collections.Concurrent;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;

namespace Yizhan.EmrAdapter.Terms;

/// <summary>
/// Versioned terminology maps from data files. A file has tab-separated rows (system, code, target, text) and says in its head which map it is and its
/// version; files of the site's folder come before those that are shipped, and what a person decided comes before both. A code that no map has is the caller's to queue.
/// </summary>
internal sealed class TermMaps
{
    /// <summary>Ordered code → modality (0008,0060).</summary>
    public const string Procedures = "procedures";

    /// <summary>What a model looks for → SNOMED CT.</summary>
    public const string Findings = "findings";

    /// <summary>URI of SNOMED CT.</summary>
    public const string Snomed = "http://snomed.info/sct";

    private readonly Dictionary<(string Map, string System, string Code), (string Target, string Text)> _rows = [];
    private readonly ConcurrentDictionary<(string Map, string System, string Code), (string Target, string Text)> _decided = new();

    /// <summary>Reads the maps.</summary>
    /// <exception cref="Platform.SettingException">A file is not a map; the message names file and line.</exception>
    public TermMaps(IOptions<EmrAdapterOptions> options, EmrDatabase? database = null)
    {
        var versions = new List<string>();
        foreach (var folder in (ReadOnlySpan<string?>)[options.Value.TermsFolder, Path.Combine(AppContext.BaseDirectory, "terms")])
        {
            if (folder is null || !Directory.Exists(folder))
            {
                continue;
            }

            foreach (var file in Directory.GetFiles(folder, "*.tsv").Order(StringComparer.Ordinal))
            {
                versions.Add(Read(file));
            }
        }

        Version = string.Join(' ', versions);
        foreach (var (key, meaning) in database?.Read(db => db.Command("SELECT map, system, code, target, text FROM term")
            .Rows(row => ((row.GetString(0), row.GetString(1), row.GetString(2)), (row.GetString(3), row.GetString(4))))) ?? [])
        {
            _decided[key] = meaning;
        }
    }

    /// <summary>Names and versions of all files.</summary>
    public string Version { get; }

    /// <summary>What a code means; null when no map has it. A code system may be given by URI, OID or its name in HL7 table 0396.</summary>
    public (string Target, string Text)? Find(string map, string system, string code) =>
        _decided.TryGetValue((map, SystemOf(system), code), out var decided) ? decided : _rows.TryGetValue((map, SystemOf(system), code), out var found) ? found : null;

    /// <summary>Takes what a person decided. Inside the caller's transaction; an older decision than the known one changes nothing.</summary>
    public void Learn(SqliteConnection db, TermMapped mapped)
    {
        if (db.Command(
            """
            INSERT INTO term (map, system, code, target, text, mapped_ms) VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT DO UPDATE SET target = $4, text = $5, mapped_ms = $6 WHERE mapped_ms <= $6
            """,
            mapped.Map, mapped.System, mapped.Code, mapped.Target, mapped.Text, mapped.MappedMs).Go() > 0)
        {
            _decided[(mapped.Map, mapped.System, mapped.Code)] = (mapped.Target, mapped.Text);
        }
    }

    /// <summary>A code system's URI by its name in HL7 v2 (table 0396) or its OID; other names as they are.</summary>
    public static string SystemOf(string name) => name switch
    {
        "LN" or "urn:oid:2.16.840.1.113883.6.1" or "LOINC" => "http://loinc.org",
        "SCT" or "SNM" or "SNOMED CT" or "urn:oid:2.16.840.1.113883.6.96" => Snomed,
        "I10" or "ICD-10" or "urn:oid:2.16.156.10011.2.3.3.11" => "http://hl7.org/fhir/sid/icd-10",
        "C4" or "CPT" => "http://www.ama-assn.org/go/cpt",
        "DCM" => "http://dicom.nema.org/resources/ontology/DCM",
        _ => name,
    };

    private string Read(string file)
    {
        string map = "", version = "";
        var number = 0;
        foreach (var line in File.ReadLines(file))
        {
            number++;
            if (line.StartsWith('#'))
            {
                var head = line[1..].TrimStart().Split('\t');
                (map, version) = head[0] switch
                {
                    "map" when head.Length == 2 => (head[1], version),
                    "version" when head.Length == 2 => (map, head[1]),
                    _ => (map, version),
                };
                continue;
            }

            if (line.Length == 0)
            {
                continue;
            }

            var columns = line.Split('\t');
            if (columns.Length != 4 || map is not (Procedures or Findings) || version.Length == 0)
            {
                throw new Platform.SettingException(
                    $"{file}, line {number}: a map begins with '# map<TAB>{Procedures}' (or {Findings}) and '# version<TAB>…', and its rows are system, code, target and text apart by tabs.");
            }

            // The first file that has a code counts: the site's own.
            _rows.TryAdd((map, SystemOf(columns[0]), columns[1]), (columns[2], columns[3]));
        }

        return $"{Path.GetFileNameWithoutExtension(file)}-{version}";
    }
}
