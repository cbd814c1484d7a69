using Yizhan.Contracts;
using Yizhan.Hl7v2;

namespace Yizhan.EmrAdapter.Hl7;

/// <summary>Data types of HL7 v2 as what the adapter works with.</summary>
internal static class Hl7Fields
{
    /// <summary>A component's text; empty when there is no such segment or field.</summary>
    public static string Text(this Hl7Segment? segment, int field, int component = 1, int subcomponent = 0)
    {
        if (segment is not { } s)
        {
            return "";
        }

        var value = s.Field(field).Repetition(1).Component(component);
        return (subcomponent > 0 ? value.Subcomponent(subcomponent) : value).ToString().Trim();
    }

    /// <summary>CX (§2.A.14): an identifier; null when it is empty.</summary>
    public static EmrIdentifier? Identifier(Hl7Value cx)
    {
        var value = cx.Component(1).ToString().Trim();
        if (value.Length == 0)
        {
            return null;
        }

        var authority = cx.Component(4);
        var universal = authority.Subcomponent(2).ToString().Trim();
        var issuer = authority.Subcomponent(1).ToString().Trim() is { Length: > 0 } name ? name
            : universal.Length > 0 && authority.Subcomponent(3).ToString() == "ISO" ? "urn:oid:" + universal
            : universal;

        // A resident identity number is known by its type or OID, so that it is one identifier whoever sends it.
        var type = cx.Component(5).ToString().Trim();
        return new EmrIdentifier(value, type == "NNCHN" || universal == Patients.ResidentIdentity.System["urn:oid:".Length..] ? Patients.ResidentIdentity.System : issuer, type);
    }

    /// <summary>XPN or XCN from its family name on (§2.A.88): a name as DICOM PN, the alphabetic representation before the ideographic one.</summary>
    /// <param name="field">The field with its repetitions.</param>
    /// <param name="family">Component of the family name: 1 in XPN, 2 in XCN.</param>
    /// <param name="representation">Component of the name representation code: 8 in XPN, 15 in XCN.</param>
    public static string Name(Hl7Value field, int family = 1, int representation = 8)
    {
        string alphabetic = "", ideographic = "", phonetic = "";
        for (var i = 1; i <= field.RepetitionCount; i++)
        {
            var name = field.Repetition(i);
            var text = string.Join(
                '^', name.Component(family).Subcomponent(1), name.Component(family + 1), name.Component(family + 2), name.Component(family + 4), name.Component(family + 3)).TrimEnd('^');
            text = text.Replace('=', ' ').Replace('\\', ' ').Trim();
            switch (name.Component(representation).ToString())
            {
                case "I":
                    ideographic = First(ideographic, text);
                    break;
                case "P":
                    phonetic = First(phonetic, text);
                    break;
                default:
                    alphabetic = First(alphabetic, text);
                    break;
            }
        }

        return $"{alphabetic}={ideographic}={phonetic}".TrimEnd('=');

        static string First(string known, string text) => known.Length > 0 ? known : text;
    }

    /// <summary>TS as Unix milliseconds; null when it is none.</summary>
    public static long? TimeMs(string text, TimeSpan offset) => Hl7Time.TryParse(text, offset, out var time) ? time.ToUnixTimeMilliseconds() : null;

    /// <summary>PID-7 as YYYYMMDD; empty when it is none.</summary>
    public static string Date(string text) => text.Length >= 8 && text.AsSpan(0, 8).IndexOfAnyExceptInRange('0', '9') < 0 ? text[..8] : "";

    /// <summary>Administrative sex (table 0001) as in DICOM.</summary>
    public static string Sex(string code) => code.ToUpperInvariant() switch { "M" => "M", "F" => "F", "O" or "A" or "N" => "O", _ => "" };
}
