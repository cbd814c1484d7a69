using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Yizhan.Dicom;

namespace Yizhan.PacsGw.Deidentify;

/// <summary>
/// Makes a data set anonymous by the basic profile of PS3.15 Annex E and its options. Works in place on a parsed copy. After the table it goes through
/// every text that is left and takes out the words that the identifying attributes had, wherever they were repeated.
/// </summary>
internal sealed partial class Deidentifier(DeidentifyProfile profile, Pseudonyms pseudonyms)
{
    /// <summary>UIDs that name a definition, not an instance: other ones would make the data set meaningless.</summary>
    private static readonly HashSet<uint> Definitions =
    [
        0x00080016, 0x00081150, 0x00041510, 0x00041512, 0x0008001A, 0x0008001B, 0x0008010C, 0x0008010D, 0x00080117, 0x00080118, 0x0008115A, 0x00083002, 0x00080062,
    ];

    /// <summary>Parts of codes, which mean nothing when a letter is missing: value, scheme, version, mapping resource, context.</summary>
    private static readonly HashSet<uint> Codes = [0x00080100, 0x00080102, 0x00080103, 0x00080105, 0x00080112, 0x00080114, 0x00080116, 0x0008010F, 0x00080119, 0x00080120];

    private static readonly DicomTag UnformattedTextValue = new(0x0070, 0x0006);
    private static readonly DicomTag LongitudinalTemporalInformationModified = new(0x0028, 0x0303);

    private string _patient = "";
    private int _daysBack;
    private IReadOnlyList<string> _words = [];

    /// <summary>Changes the data set.</summary>
    /// <param name="dataset">A copy that nobody else sees.</param>
    /// <param name="syntax">The encoding that its pixel data is in.</param>
    /// <exception cref="NotDeidentifiableException">It has what this profile cannot clean: a document, burned-in text, pixels that are compressed.</exception>
    public void Apply(DicomDataset dataset, DicomTransferSyntax syntax)
    {
        Refuse(dataset);
        var patientId = dataset.GetString(DicomTags.PatientID) ?? "";
        var issuer = dataset.GetString(DicomTags.IssuerOfPatientID) ?? "";
        _patient = pseudonyms.OfPatient(patientId.Length > 0 ? patientId : "name:" + dataset.GetString(DicomTags.PatientName), issuer);
        _daysBack = pseudonyms.DaysBack(patientId, issuer);
        _words = Identity.WordsOf(dataset, element => BasicProfile.Of(element, profile.Retain) == ProfileAction.Keep);
        PixelBlanking.Apply(dataset, syntax, profile.Blank);
        Walk(dataset);
        Sweep(dataset);
        Describe(dataset);
    }

    private void Refuse(DicomDataset dataset)
    {
        if (dataset.Contains(DicomTags.EncapsulatedDocument))
        {
            throw new NotDeidentifiableException("it is a document (0042,0011), whose pages nobody can look through here");
        }

        if (profile.Blank.Count == 0 && !profile.AcceptBurnedIn && dataset.GetString(DicomTags.BurnedInAnnotation) == "YES")
        {
            throw new NotDeidentifiableException(
                $"Burned In Annotation (0028,0301) is YES and profile '{profile.Name}' has no 'blank'; give the regions, or say 'burnedIn: accept'");
        }
    }

    /// <summary>Depth is bounded by the parser.</summary>
    private void Walk(DicomDataset dataset)
    {
        foreach (var found in dataset.ToList())
        {
            var element = SequenceInside(found) ?? found;
            if (element != found)
            {
                dataset.Set(element);
            }

            switch (BasicProfile.Of(element, profile.Retain))
            {
                case ProfileAction.Remove:
                    dataset.Remove(element.Tag);
                    break;
                case ProfileAction.Empty:
                    dataset.Set(element.Items is not null
                        ? DicomElement.OfItems(element.Tag, [])
                        : DicomElement.OfValue(element.Tag, element.Vr, ReadOnlyMemory<byte>.Empty));
                    break;
                case ProfileAction.Dummy:
                    Replace(dataset, element);
                    break;
                case ProfileAction.NewUid:
                    MapUids(dataset, element);
                    break;
                case ProfileAction.Clean:
                    Clean(dataset, element);
                    break;
                default:
                    KeepOrMap(dataset, element);
                    break;
            }
        }
    }

    /// <summary>A sequence that came as UN of defined length (PS3.5 §6.2.2): what is inside must be gone through, too. Null when it is none.</summary>
    private static DicomElement? SequenceInside(DicomElement element)
    {
        if (element.Vr != DicomVr.UN || element.Items is not null || DicomDictionary.GetVr(element.Tag) != DicomVr.SQ)
        {
            return null;
        }

        var bytes = new byte[8 + element.Value.Length];
        BinaryPrimitives.WriteUInt16LittleEndian(bytes, element.Tag.Group);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(2), element.Tag.Element);
        BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(4), element.Value.Length);
        element.Value.CopyTo(bytes.AsMemory(8));
        try
        {
            return DicomDataset.Parse(bytes, DicomTransferSyntax.ImplicitVrLittleEndian).FirstOrDefault(e => e.Items is not null);
        }
        catch (DicomFormatException)
        {
            // It stays UN, and is removed as everything of unknown meaning.
            return null;
        }
    }

    private void KeepOrMap(DicomDataset dataset, DicomElement element)
    {
        foreach (var item in element.Items ?? [])
        {
            Walk(item);
        }

        // A UID that the table does not list may still be that of an instance.
        if (element.ValueVr == DicomVr.UI && !Definitions.Contains(element.Tag.Value) && !profile.Retain.HasFlag(RetainOptions.Uids))
        {
            MapUids(dataset, element);
        }
    }

    private void MapUids(DicomDataset dataset, DicomElement element)
    {
        foreach (var item in element.Items ?? [])
        {
            Walk(item);
        }

        if (element.Items is null && element.Value.Length > 0)
        {
            dataset.Set(element.Tag, DicomVr.UI, [.. dataset.GetStrings(element.Tag).Select(
                uid => uid.Length == 0 || uid.StartsWith("1.2.840.10008.", StringComparison.Ordinal) ? uid : pseudonyms.OfUid(uid))]);
        }
    }

    private void Replace(DicomDataset dataset, DicomElement element)
    {
        if (element.Items is { } items)
        {
            if (element.Tag.Value == 0x00401101)
            {
                dataset.Set(element.Tag, new DicomDataset()
                    .Set(DicomTags.CodeValue, "ANONYMOUS").Set(DicomTags.CodingSchemeDesignator, "99YIZHAN").Set(DicomTags.CodeMeaning, "Anonymous"));
                return;
            }

            foreach (var item in items)
            {
                Walk(item);
            }

            return;
        }

        var value = element.Tag == DicomTags.PatientName || element.Tag == DicomTags.PatientID ? _patient : element.ValueVr switch
        {
            DicomVr.DA => "19000101",
            DicomVr.TM => "000000",
            DicomVr.DT => "19000101000000",
            DicomVr.AS => "000Y",
            DicomVr.DS or DicomVr.IS => "0",
            DicomVr.PN or DicomVr.LO or DicomVr.SH or DicomVr.LT or DicomVr.ST or DicomVr.UT or DicomVr.UC or DicomVr.AE or DicomVr.CS => "ANONYMOUS",
            _ => null,
        };
        dataset.Set(value is null
            ? DicomElement.OfValue(element.Tag, element.Vr, new byte[Math.Max(element.Vr.WordSize(), 1)])
            : new DicomDataset().Set(element.Tag, element.ValueVr, value).Single());
    }

    private void Clean(DicomDataset dataset, DicomElement element)
    {
        foreach (var item in element.Items ?? [])
        {
            Walk(item);
        }

        if (element.Items is not null || element.Value.Length == 0)
        {
            return;
        }

        if (element.ValueVr is DicomVr.DA or DicomVr.DT)
        {
            dataset.Set(element.Tag, element.ValueVr, [.. dataset.GetStrings(element.Tag).Select(Shift)]);
        }
        else if (element.ValueVr.IsText() && element.ValueVr != DicomVr.TM && element.Tag != DicomTags.TimezoneOffsetFromUTC)
        {
            dataset.Set(element.Tag, element.ValueVr, [.. dataset.GetStrings(element.Tag).Select(v => LongNumber().Replace(WithoutWords(v), ""))]);
        }
    }

    /// <summary>A date so many days earlier, the rest of a date and time as it was; empty when it is no date.</summary>
    private string Shift(string value) =>
        value.Length >= 8 && DateOnly.TryParseExact(value.AsSpan(0, 8), "yyyyMMdd", CultureInfo.InvariantCulture, DateTimeStyles.None, out var date) && date.DayNumber > _daysBack
            ? date.AddDays(-_daysBack).ToString("yyyyMMdd", CultureInfo.InvariantCulture) + value[8..]
            : "";

    /// <summary>Takes the identifying words out of every text that was kept, and out of bytes of unknown meaning.</summary>
    private void Sweep(DicomDataset dataset)
    {
        foreach (var element in dataset.ToList())
        {
            foreach (var item in element.Items ?? [])
            {
                Sweep(item);
            }

            if (element.Items is not null || element.Fragments is not null || element.Value.Length == 0)
            {
                continue;
            }

            // Free text of structured reports has no attribute of its own in the table.
            if (element.Tag == DicomTags.TextValue || element.Tag == UnformattedTextValue)
            {
                if (!profile.Retain.HasFlag(RetainOptions.Descriptors))
                {
                    dataset.Set(element.Tag, "ANONYMOUS");
                    continue;
                }
            }

            if (element.ValueVr == DicomVr.UN || (element.ValueVr == DicomVr.OB && element.Tag.Group != 0x7FE0 && HasWord(element.Value.Span)))
            {
                dataset.Remove(element.Tag);
            }
            else if (element.ValueVr.IsText() && element.ValueVr is not (DicomVr.UI or DicomVr.DA or DicomVr.TM or DicomVr.DT or DicomVr.CS or DicomVr.DS or DicomVr.IS or DicomVr.AS)
                && element.Tag != DicomTags.PatientName && element.Tag != DicomTags.PatientID && !Codes.Contains(element.Tag.Value))
            {
                var values = dataset.GetStrings(element.Tag);
                var cleaned = values.Select(v => v.Length > 0 && WithoutWords(v) is var left ? left.Length > 0 ? left : "ANONYMOUS" : v).ToArray();
                if (!cleaned.SequenceEqual(values))
                {
                    dataset.Set(element.Tag, element.ValueVr, cleaned);
                }
            }
        }
    }

    private bool HasWord(ReadOnlySpan<byte> bytes)
    {
        foreach (var word in _words)
        {
            if (bytes.IndexOf(Encoding.UTF8.GetBytes(word)) >= 0)
            {
                return true;
            }
        }

        return false;
    }

    private string WithoutWords(string text)
    {
        foreach (var word in _words)
        {
            text = RemoveWord(text, word);
        }

        return text.Trim();
    }

    /// <summary>A short Latin word is taken out where it stands alone only: "Li" must not spoil "Limb".</summary>
    private static string RemoveWord(string text, string word)
    {
        var mustStandAlone = word.Length <= 4 && Ascii.IsValid(word);
        for (var at = 0; (at = text.IndexOf(word, at, StringComparison.OrdinalIgnoreCase)) >= 0;)
        {
            var end = at + word.Length;
            if (mustStandAlone && ((at > 0 && char.IsLetterOrDigit(text[at - 1])) || (end < text.Length && char.IsLetterOrDigit(text[end]))))
            {
                at = end;
            }
            else
            {
                text = text.Remove(at, word.Length);
            }
        }

        return text;
    }

    private void Describe(DicomDataset dataset)
    {
        dataset.Set(DicomTags.PatientIdentityRemoved, "YES")
            .Set(DicomTags.DeidentificationMethod, [.. profile.MethodCodes().Select(m => m.Meaning.Length <= 64 ? m.Meaning : m.Meaning[..64])])
            .Set(DicomTags.DeidentificationMethodCodeSequence, [.. profile.MethodCodes().Select(m => new DicomDataset()
                .Set(DicomTags.CodeValue, m.Code).Set(DicomTags.CodingSchemeDesignator, "DCM").Set(DicomTags.CodeMeaning, m.Meaning))])
            .Set(LongitudinalTemporalInformationModified, profile.Retain.HasFlag(RetainOptions.FullDates) ? "UNMODIFIED"
                : profile.Retain.HasFlag(RetainOptions.ModifiedDates) ? "MODIFIED" : "REMOVED");
        if (profile.Blank.Count > 0)
        {
            dataset.Set(DicomTags.BurnedInAnnotation, "NO");
        }
    }

    /// <summary>Numbers of six digits or more in a description are identifiers or dates.</summary>
    [GeneratedRegex(@"\d[\d\-./]{4,}\d")]
    private static partial Regex LongNumber();
}
