using System.Globalization;

namespace Yizhan.Console.Studies;

/// <summary>What somebody looks for in the archive. Empty fields do not matter; all others must match.</summary>
public sealed class StudySearch
{
    /// <summary>A name or the beginnings of its parts, in characters or in letters.</summary>
    public string Name { get; set; } = "";

    /// <summary>Patient ID.</summary>
    public string PatientId { get; set; } = "";

    /// <summary>Accession number.</summary>
    public string Accession { get; set; } = "";

    /// <summary>A modality that the study has, such as CT.</summary>
    public string Modality { get; set; } = "";

    /// <summary>First day.</summary>
    public DateOnly? From { get; set; }

    /// <summary>Last day, which is included.</summary>
    public DateOnly? To { get; set; }

    /// <summary>The parameters of a search for studies (PS3.18 §10.6), each with a leading ampersand.</summary>
    public string Query => string.Concat(
        Name.Trim().Length > 0 ? $"&PatientName={Uri.EscapeDataString(Name.Trim())}&fuzzymatching=true" : "",
        Term("PatientID", PatientId),
        Term("AccessionNumber", Accession),
        Term("ModalitiesInStudy", Modality.ToUpperInvariant()),
        From is null && To is null ? "" : $"&StudyDate={Day(From)}-{Day(To)}");

    private static string Term(string name, string value) => value.Trim() is { Length: > 0 } said ? $"&{name}={Uri.EscapeDataString(said)}" : "";

    private static string Day(DateOnly? day) => day?.ToString("yyyyMMdd", CultureInfo.InvariantCulture) ?? "";
}
