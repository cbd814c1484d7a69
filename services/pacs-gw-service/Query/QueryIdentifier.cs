using Yizhan.Dicom;
using Yizhan.PacsGw.Archive;

namespace Yizhan.PacsGw.Query;

/// <summary>The identifier of a C-FIND, C-MOVE or C-GET as understood (PS3.4 §C.2.2.1, §C.4.1.1.3).</summary>
internal static class QueryIdentifier
{
    private const int MaxDepth = 4;

    private const uint SpecificCharacterSet = 0x00080005;
    private const uint QueryRetrieveLevel = 0x00080052;
    private const uint RetrieveAeTitle = 0x00080054;
    private const uint InstanceAvailability = 0x00080056;
    private const uint TimezoneOffsetFromUtc = 0x00080201;

    /// <summary>What a C-FIND asks for.</summary>
    /// <param name="identifier">Its data set.</param>
    /// <param name="sopClassUid">Its information model: patient root also has the patient level.</param>
    /// <param name="negotiated">Extended negotiation (PS3.4 §C.5.1.1.1): byte 1 combined dates and times, byte 2 fuzzy names.</param>
    /// <param name="limit">Results at most.</param>
    /// <param name="partly">True when a key that has a value is not matched: answers say so with 0xFF01.</param>
    /// <exception cref="QueryException">The identifier does not fit the information model.</exception>
    public static ArchiveQuery ForFind(
        DicomDataset identifier, string sopClassUid, ReadOnlySpan<byte> negotiated, int limit, out bool partly)
    {
        var (level, perPatient) = LevelOf(identifier, sopClassUid == DicomUids.PatientRootFind);
        var query = new ArchiveQuery
        {
            Level = level,
            PerPatient = perPatient,
            CombinesDateAndTime = negotiated.Length > 1 && negotiated[1] == 1,
            Fuzzy = negotiated.Length > 2 && negotiated[2] == 1,
            Limit = limit,
        };
        partly = !TakeKeys(query.Matches, identifier, []);
        partly |= query.Matches.RemoveAll(m => m.Key.Level > level) > 0;

        // An optional key that would have to be looked for in every instance of the archive is not matched, and that is said.
        if (!query.Matches.Exists(m => m.Key is { Kind: MatchKind.Uid, Column: not null }))
        {
            partly |= query.Matches.RemoveAll(m => m.Key.Column is null && m.Key.Level != ArchiveLevel.Study) > 0;
        }

        return query;
    }

    /// <summary>What a worklist query asks for.</summary>
    /// <param name="identifier">Its data set.</param>
    /// <param name="limit">Results at most.</param>
    /// <param name="partly">True when a key that has a value is not matched.</param>
    public static ArchiveQuery ForWorklist(DicomDataset identifier, int limit, out bool partly)
    {
        var query = new ArchiveQuery { Level = ArchiveLevel.Instance, Limit = limit };
        partly = !TakeKeys(query.Matches, identifier, []);
        return query;
    }

    /// <summary>Which instances a C-MOVE or C-GET asks for: by the unique keys, a list of UIDs at its own level (PS3.4 §C.4.2.2.1).</summary>
    /// <param name="identifier">Its data set.</param>
    /// <param name="isPatientRoot">Whether its information model has the patient level.</param>
    /// <param name="limit">Instances at most.</param>
    /// <exception cref="QueryException">The unique key of its level is missing.</exception>
    public static ArchiveQuery ForRetrieve(DicomDataset identifier, bool isPatientRoot, int limit)
    {
        var (level, perPatient) = LevelOf(identifier, isPatientRoot);
        var query = new ArchiveQuery { Level = ArchiveLevel.Instance, Limit = limit };
        foreach (var tag in (ReadOnlySpan<DicomTag>)
            [DicomTags.PatientID, DicomTags.StudyInstanceUID, DicomTags.SeriesInstanceUID, DicomTags.SOPInstanceUID])
        {
            if (string.Join('\\', identifier.GetStrings(tag)) is { Length: > 0 } value)
            {
                query.Matches.Add(new MatchTerm(MatchKey.Find([tag])!, value));
            }
        }

        var unique = perPatient ? DicomTags.PatientID
            : level == ArchiveLevel.Study ? DicomTags.StudyInstanceUID
            : level == ArchiveLevel.Series ? DicomTags.SeriesInstanceUID
            : DicomTags.SOPInstanceUID;
        var match = query.Matches.Find(m => m.Key.Path[0] == unique.Value);
        return match.Key is null || match.Value.AsSpan().ContainsAny('*', '?')
            ? throw new QueryException($"The identifier needs a value of {unique} without wildcards.")
            : query;
    }

    /// <summary>True for what an identifier has besides its keys.</summary>
    public static bool IsControl(DicomTag tag) => tag.Element == 0 || tag.Value is SpecificCharacterSet or QueryRetrieveLevel or TimezoneOffsetFromUtc;

    private static (ArchiveLevel Level, bool PerPatient) LevelOf(DicomDataset identifier, bool isPatientRoot) =>
        identifier.GetString(DicomTags.QueryRetrieveLevel) switch
        {
            "PATIENT" when isPatientRoot => (ArchiveLevel.Study, true),
            "STUDY" => (ArchiveLevel.Study, false),
            "SERIES" => (ArchiveLevel.Series, false),
            "IMAGE" => (ArchiveLevel.Instance, false),
            _ => throw new QueryException(
                $"QueryRetrieveLevel (0008,0052) must be {(isPatientRoot ? "PATIENT, " : "")}STUDY, SERIES or IMAGE."),
        };

    /// <summary>Collects the keys that have a value; false when one of them cannot be matched.</summary>
    private static bool TakeKeys(List<MatchTerm> matches, DicomDataset dataset, DicomTag[] path)
    {
        var all = true;
        foreach (var element in dataset)
        {
            if (IsControl(element.Tag) || element.Tag.Value is RetrieveAeTitle or InstanceAvailability)
            {
                continue;
            }

            DicomTag[] here = [.. path, element.Tag];
            if (element.Items is { } items)
            {
                // PS3.4 §C.2.2.2.6: one item. A further one has no meaning.
                all &= items.Count == 0 || (here.Length < MaxDepth && TakeKeys(matches, items[0], here));
                continue;
            }

            var value = string.Join('\\', dataset.GetStrings(element.Tag));
            if (value.Length == 0 || value is "*")
            {
                continue;
            }

            if (MatchKey.Find(here) is { } key)
            {
                matches.Add(new MatchTerm(key, value));
            }
            else
            {
                all = false;
            }
        }

        return all;
    }
}
