namespace Yizhan.Dicom;

/// <summary>A person name: up to three component groups for alphabetic, ideographic and phonetic writing (PS3.5 §6.2.1).</summary>
/// <param name="Alphabetic">The first group, as "family^given^middle^prefix^suffix".</param>
/// <param name="Ideographic">The second group, or empty.</param>
/// <param name="Phonetic">The third group, or empty.</param>
public sealed record DicomPersonName(string Alphabetic, string Ideographic = "", string Phonetic = "")
{
    /// <summary>Splits the groups at "="; never fails.</summary>
    public static DicomPersonName Parse(string text)
    {
        var groups = text.Split('=', 4);
        return new DicomPersonName(Group(0), Group(1), Group(2));

        string Group(int index) => index < groups.Length ? groups[index].Trim(' ').TrimEnd('^') : "";
    }

    /// <summary>The groups joined with "=", without empty groups at the end.</summary>
    public override string ToString() => $"{Alphabetic}={Ideographic}={Phonetic}".TrimEnd('=');
}
