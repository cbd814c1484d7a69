using Yizhan.Dicom;

namespace Yizhan.PacsGw.Deidentify;

/// <summary>Options of PS3.15 §E.3 that keep more than the basic profile does.</summary>
[Flags]
internal enum RetainOptions
{
    /// <summary>The basic profile alone.</summary>
    None = 0,

    /// <summary>Retain UIDs.</summary>
    Uids = 1,

    /// <summary>Retain Longitudinal Temporal Information with Full Dates.</summary>
    FullDates = 2,

    /// <summary>… with Modified Dates: all dates of a patient are moved by the same number of days.</summary>
    ModifiedDates = 4,

    /// <summary>Retain Device Identity.</summary>
    Device = 8,

    /// <summary>Retain Institution Identity.</summary>
    Institution = 16,

    /// <summary>Retain Patient Characteristics.</summary>
    PatientCharacteristics = 32,

    /// <summary>Clean Descriptors: descriptions and comments stay without what identifies.</summary>
    Descriptors = 64,
}

/// <summary>A part of the image that is made black when the data set is of the named equipment; pixels, from the top left.</summary>
/// <param name="X">First column.</param>
/// <param name="Y">First row.</param>
/// <param name="Width">Columns.</param>
/// <param name="Height">Rows.</param>
internal sealed record BlankedRegion(int X, int Y, int Width, int Height);

/// <summary>How copies for one project are de-identified.</summary>
/// <param name="Name">Name in the rules.</param>
/// <param name="Project">Whose pseudonyms: equal projects give equal pseudonyms, others unrelated ones.</param>
/// <param name="Retain">What is kept beyond the basic profile.</param>
/// <param name="Blank">Parts of the image that are blanked.</param>
/// <param name="AcceptBurnedIn">True to let images pass that say that they have text burned in, although nothing is blanked.</param>
internal sealed record DeidentifyProfile(
    string Name, string Project, RetainOptions Retain, IReadOnlyList<BlankedRegion> Blank, bool AcceptBurnedIn)
{
    /// <summary>The codes for (0012,0064), PS3.16 CID 7050.</summary>
    public IEnumerable<(string Code, string Meaning)> MethodCodes()
    {
        yield return ("113100", "Basic Application Confidentiality Profile");
        foreach (var (option, code, meaning) in ((RetainOptions, string, string)[])
        [
            (RetainOptions.Descriptors, "113105", "Clean Descriptors Option"),
            (RetainOptions.FullDates, "113106", "Retain Longitudinal Temporal Information Full Dates Option"),
            (RetainOptions.ModifiedDates, "113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
            (RetainOptions.PatientCharacteristics, "113108", "Retain Patient Characteristics Option"),
            (RetainOptions.Device, "113109", "Retain Device Identity Option"),
            (RetainOptions.Uids, "113110", "Retain UIDs Option"),
            (RetainOptions.Institution, "113112", "Retain Institution Identity Option"),
        ])
        {
            if (Retain.HasFlag(option))
            {
                yield return (code, meaning);
            }
        }

        if (Blank.Count > 0)
        {
            yield return ("113101", "Clean Pixel Data Option");
        }
    }
}

/// <summary>A data set cannot be made anonymous with its profile; it is not sent. The message has no patient data.</summary>
internal sealed class NotDeidentifiableException(string message) : Exception(message);

/// <summary>What a data set says about persons, to be found again elsewhere in it.</summary>
internal static class Identity
{
    /// <summary>Attributes whose values name or number a person, an order or a place.</summary>
    private static readonly DicomTag[] Tags =
    [
        DicomTags.PatientName, DicomTags.PatientID, DicomTags.AccessionNumber, DicomTags.ReferringPhysicianName, DicomTags.PerformingPhysicianName,
        .. "00101000 00101001 00101005 00101060 00101040 00102154 00081048 00081060 00081070 00080080 00080081 00081040 00380010 00401001 00402016 00402017 00200010 00100030 00321032"
            .Split(' ').Select(DicomTag.Parse),
    ];

    private static readonly char[] Separators = [' ', '^', '=', ',', '\\', '\r', '\n', '\t'];

    /// <summary>Words that must not be left: of three letters or more, or of two if they are not Latin. Longest first.</summary>
    /// <param name="dataset">The data set, gone through with all its items.</param>
    /// <param name="kept">True for attributes whose values the profile keeps: their words are no secret.</param>
    public static IReadOnlyList<string> WordsOf(DicomDataset dataset, Func<DicomElement, bool> kept)
    {
        var words = new HashSet<string>(StringComparer.OrdinalIgnoreCase);
        Collect(dataset, words, kept);
        return [.. words.OrderByDescending(w => w.Length).ThenBy(w => w, StringComparer.Ordinal)];
    }

    private static void Collect(DicomDataset dataset, HashSet<string> words, Func<DicomElement, bool> kept)
    {
        foreach (var element in dataset)
        {
            foreach (var item in element.Items ?? [])
            {
                Collect(item, words, kept);
            }

            if ((Tags.Contains(element.Tag) || element.ValueVr == DicomVr.PN) && !kept(element))
            {
                foreach (var value in dataset.GetStrings(element.Tag))
                {
                    // The whole, and its parts: "Wang^Xiao Dong" is found as "Xiao Dong", too.
                    Add(words, value);
                    foreach (var word in value.Split(Separators, StringSplitOptions.RemoveEmptyEntries))
                    {
                        Add(words, word);
                    }
                }
            }
        }
    }

    private static void Add(HashSet<string> words, string word)
    {
        var trimmed = word.Trim();
        if (trimmed.Length >= 3 || (trimmed.Length == 2 && trimmed.All(c => c > 0x2E80)))
        {
            words.Add(trimmed);
        }
    }
}
