using System.Buffers;
using System.Globalization;
using Microsoft.Data.Sqlite;
using Yizhan.Dicom;
using Yizhan.PacsGw.Archive;

namespace Yizhan.PacsGw.Query;

/// <summary>Makes the identifiers of C-FIND responses: exactly the attributes that were asked for, empty where there is no value.</summary>
/// <param name="identifier">Of the request.</param>
/// <param name="retrieveAeTitle">Where to retrieve from: us.</param>
/// <param name="characterSet">Defined terms that the asker understands; none for the default repertoire.</param>
internal sealed class FindAnswer(DicomDataset identifier, string retrieveAeTitle, IReadOnlyList<string> characterSet)
{
    private readonly List<(uint Tag, ReadOnlyMemory<byte> Json)> _found = [];

    /// <summary>The answer for the current row of an <see cref="ArchiveSearch"/>.</summary>
    public DicomDataset Of(SqliteDataReader row, ArchiveQuery query, ArchiveSearch search)
    {
        var study = new JsonAttributes((byte[])row[1]);
        var series = query.Level >= ArchiveLevel.Series ? new JsonAttributes((byte[])row[6]) : null;
        var instance = query.Level == ArchiveLevel.Instance ? new JsonAttributes((byte[])row[9]) : null;
        var answer = Of(tag => ArchiveLevels.Of(tag) switch
        {
            ArchiveLevel.Study => study[tag],
            ArchiveLevel.Series => series?[tag] ?? default,
            _ => instance?[tag] ?? default,
        });
        AddComputed(answer, row, query, search);
        answer.Set(DicomTags.QueryRetrieveLevel, identifier.GetString(DicomTags.QueryRetrieveLevel)!);
        answer.Set(DicomTags.RetrieveAETitle, retrieveAeTitle);
        return WithCharacterSet(answer);
    }

    /// <summary>The answer for a data set of the worklist.</summary>
    public DicomDataset Of(byte[] json)
    {
        var attributes = new JsonAttributes(json);
        return WithCharacterSet(Of(tag => attributes[tag]));
    }

    private DicomDataset Of(Func<uint, ReadOnlyMemory<byte>> find)
    {
        _found.Clear();
        foreach (var element in identifier)
        {
            // A value that is kept as bulk data has no place in an identifier.
            if (!QueryIdentifier.IsControl(element.Tag) && find(element.Tag.Value) is { IsEmpty: false } json
                && json.Span.IndexOf("\"BulkDataURI\""u8) < 0)
            {
                _found.Add((element.Tag.Value, json));
            }
        }

        var written = new ArrayBufferWriter<byte>();
        JsonAttributes.Write(written, _found);
        return Keep(DicomJson.Read(written.WrittenMemory), identifier);
    }

    /// <summary>Leaves in items what was asked for, and adds what there is not.</summary>
    private static DicomDataset Keep(DicomDataset found, DicomDataset asked)
    {
        foreach (var element in asked)
        {
            if (QueryIdentifier.IsControl(element.Tag))
            {
                continue;
            }

            if (!found.TryGet(element.Tag, out var known))
            {
                found.Set(element.Items is null
                    ? DicomElement.OfValue(element.Tag, element.ValueVr, ReadOnlyMemory<byte>.Empty)
                    : DicomElement.OfItems(element.Tag, []));
            }
            else if (element.Items is [{ Count: > 0 } wanted, ..] && known.Items is { } items)
            {
                foreach (var item in items)
                {
                    foreach (var extra in item.Where(e => !wanted.Contains(e.Tag)).ToList())
                    {
                        item.Remove(extra.Tag);
                    }

                    Keep(item, wanted);
                }
            }
        }

        return found;
    }

    /// <summary>PS3.4 §C.3.4: attributes that are about what is below.</summary>
    private void AddComputed(DicomDataset answer, SqliteDataReader row, ArchiveQuery query, ArchiveSearch search)
    {
        var uid = row.GetString(0);
        if (!query.PerPatient)
        {
            Set(DicomTags.StudyInstanceUID, uid);
            Set(DicomTags.ModalitiesInStudy, row.GetString(2).Split('\\', StringSplitOptions.RemoveEmptyEntries));
            Set(DicomTags.NumberOfStudyRelatedSeries, Number(row.GetInt64(3)));
            Set(DicomTags.NumberOfStudyRelatedInstances, Number(row.GetInt64(4)));
        }

        if (query.Level >= ArchiveLevel.Series)
        {
            Set(DicomTags.SeriesInstanceUID, row.GetString(5));
            Set(DicomTags.NumberOfSeriesRelatedInstances, Number(row.GetInt64(7)));
        }

        if (query.Level == ArchiveLevel.Instance)
        {
            Set(DicomTags.SOPInstanceUID, row.GetString(8));
        }

        Set(DicomTags.InstanceAvailability, "ONLINE");
        if (identifier.Contains(DicomTags.SOPClassesInStudy) && !query.PerPatient)
        {
            Set(DicomTags.SOPClassesInStudy, [.. search.SopClasses(uid)]);
        }

        if (identifier.Contains(DicomTags.NumberOfPatientRelatedStudies) || identifier.Contains(DicomTags.NumberOfPatientRelatedSeries)
            || identifier.Contains(DicomTags.NumberOfPatientRelatedInstances))
        {
            var (studies, series, instances) = search.PatientTotals(uid);
            Set(DicomTags.NumberOfPatientRelatedStudies, Number(studies));
            Set(DicomTags.NumberOfPatientRelatedSeries, Number(series));
            Set(DicomTags.NumberOfPatientRelatedInstances, Number(instances));
        }

        void Set(DicomTag tag, params ReadOnlySpan<string> values)
        {
            if (identifier.Contains(tag))
            {
                answer.Set(tag, values);
            }
        }
    }

    private static string Number(long value) => value.ToString(CultureInfo.InvariantCulture);

    /// <summary>Text goes out as the asker understands it, or as UTF-8 where that cannot hold it (PS3.4 §C.4.1.1.3.2).</summary>
    private DicomDataset WithCharacterSet(DicomDataset answer)
    {
        if (characterSet.Count == 0 || !answer.Contains(DicomTags.SpecificCharacterSet))
        {
            return answer;
        }

        try
        {
            return Encode(answer, characterSet);
        }
        catch (ArgumentException)
        {
            return answer;
        }
    }

    /// <exception cref="ArgumentException">The character set lacks a character.</exception>
    private static DicomDataset Encode(DicomDataset source, IReadOnlyList<string> terms)
    {
        var target = new DicomDataset().Set(DicomTags.SpecificCharacterSet, [.. terms]);
        foreach (var element in source)
        {
            if (element.Items is { } items)
            {
                target.Set(DicomElement.OfItems(element.Tag, [.. items.Select(item => Item(Encode(item, terms)))]));
            }
            else if (element.Tag != DicomTags.SpecificCharacterSet)
            {
                target.Set(element.Vr.UsesSpecificCharacterSet() && element.Value.Length > 0
                    ? Text(target, source, element)
                    : element);
            }
        }

        return target;

        // An item inherits the character set of what it is in.
        static DicomDataset Item(DicomDataset item)
        {
            item.Remove(DicomTags.SpecificCharacterSet);
            return item;
        }

        static DicomElement Text(DicomDataset target, DicomDataset source, DicomElement element)
        {
            target.Set(element.Tag, element.Vr, [.. source.GetStrings(element.Tag)]);
            return target.TryGet(element.Tag, out var encoded) ? encoded : element;
        }
    }
}
