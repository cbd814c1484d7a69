using Microsoft.Data.Sqlite;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Archive;

/// <summary>What retrieving an instance needs to know about it.</summary>
/// <param name="Pk">Key in the index.</param>
/// <param name="StudyInstanceUid">Its study.</param>
/// <param name="SeriesInstanceUid">Its series.</param>
/// <param name="SopInstanceUid">Which it is.</param>
/// <param name="SopClassUid">What it is.</param>
/// <param name="TransferSyntaxUid">Encoding of its data set.</param>
/// <param name="Hash">Address of its data set.</param>
/// <param name="Length">Bytes of its data set.</param>
/// <param name="CallingAeTitle">Who sent it.</param>
internal sealed record StoredInstance(
    long Pk,
    string StudyInstanceUid,
    string SeriesInstanceUid,
    string SopInstanceUid,
    string SopClassUid,
    string TransferSyntaxUid,
    ContentHash Hash,
    long Length,
    string CallingAeTitle)
{
    /// <summary>Path below the DICOMweb service root.</summary>
    public string Path => $"studies/{StudyInstanceUid}/series/{SeriesInstanceUid}/instances/{SopInstanceUid}";
}

/// <summary>Finds stored instances by their place. Of several with one SOP Instance UID, the one that came first answers.</summary>
internal sealed class StoredInstances(ArchiveDatabase database)
{
    /// <summary>Rows of one look into the index: a study of any size is walked in steps.</summary>
    private const int Step = 500;

    private const string Columns =
        "instance.pk, study.uid, series.uid, sop_uid, sop_class, transfer_syntax, sha256, length, calling_ae";

    private const string From =
        "FROM instance JOIN series ON series.pk = instance.series JOIN study ON study.pk = series.study";

    /// <summary>What a place restricts. Only that: beside "or null" no index is used, and one instance would be looked for among all of its study.</summary>
    private static string Where(string? series, string? instance) =>
        $"WHERE study.uid = $1{(series is null ? "" : " AND series.uid = $2")}{(instance is null ? "" : " AND instance.sop_uid = $3")} AND instance.variant = 0";

    /// <summary>An instance with this content, whatever its place; null when none is indexed.</summary>
    public StoredInstance? OfHash(ContentHash hash)
    {
        using var db = database.OpenReader();
        using var select = db.Command(
            $"SELECT {Columns} {From} WHERE instance.sha256 = $1 ORDER BY instance.pk LIMIT 1", hash.ToString());
        using var row = select.ExecuteReader();
        return row.Read() ? Read(row) : null;
    }

    /// <summary>Patient ID (0010,0020) of a study as the index has it now, which may be empty; null when the study is not here.</summary>
    public string? PatientOf(string study)
    {
        using var db = database.OpenReader();
        using var select = db.Command("SELECT patient_id FROM study WHERE uid = $1", study);
        return select.ExecuteScalar() as string;
    }

    /// <summary>The instances of a study, a series (when not null) or one instance (when not null), after a key.</summary>
    /// <returns>At most a few hundred; ask again after the last one's key. Empty at the end.</returns>
    public IReadOnlyList<StoredInstance> After(long pk, string study, string? series, string? instance)
    {
        using var db = database.OpenReader();
        using var select = db.Command($"""
            SELECT {Columns} {From} {Where(series, instance)} AND instance.pk > $4 ORDER BY instance.pk LIMIT {Step}
            """, study, series, instance, pk);
        using var row = select.ExecuteReader();
        var found = new List<StoredInstance>();
        while (row.Read())
        {
            found.Add(Read(row));
        }

        return found;
    }

    /// <summary>Instances by their keys in the index, in that order; those that are gone are left out.</summary>
    /// <param name="keys">At most a few hundred.</param>
    public IReadOnlyList<StoredInstance> OfKeys(IReadOnlyList<long> keys)
    {
        using var db = database.OpenReader();
        using var select = db.Command(
            $"SELECT {Columns} {From} WHERE instance.pk IN (SELECT value FROM json_each($1)) ORDER BY instance.pk", $"[{string.Join(',', keys)}]");
        using var row = select.ExecuteReader();
        var found = new List<StoredInstance>();
        while (row.Read())
        {
            found.Add(Read(row));
        }

        return found;
    }

    /// <summary>Transfer syntaxes among the instances of a place; empty when there are no instances.</summary>
    public IReadOnlyList<string> TransferSyntaxes(string study, string? series, string? instance)
    {
        using var db = database.OpenReader();
        using var select = db.Command($"SELECT DISTINCT transfer_syntax {From} {Where(series, instance)}", study, series, instance);
        using var row = select.ExecuteReader();
        var found = new List<string>();
        while (row.Read())
        {
            found.Add(row.GetString(0));
        }

        return found;
    }

    /// <summary>True when the archive has an instance at this place.</summary>
    public bool Contains(string study, string? series, string? instance)
    {
        using var db = database.OpenReader();
        using var select = db.Command($"SELECT 1 {From} {Where(series, instance)} LIMIT 1", study, series, instance);
        return select.ExecuteScalar() is not null;
    }

    /// <summary>A text that is another whenever something of the study changed; null when there is no such study.</summary>
    public string? Version(string study)
    {
        using var db = database.OpenReader();
        using var select = db.Command("SELECT epoch || '-' || change FROM study, cursor WHERE uid = $1", study);
        return (string?)select.ExecuteScalar();
    }

    /// <summary>Metadata of the instances of a place, one JSON object each, in the order of <see cref="After"/>.</summary>
    public IEnumerable<byte[]> Metadata(string study, string? series, string? instance)
    {
        using var db = database.OpenReader();
        using var select = db.Command($"""
            SELECT CAST(metadata.json AS BLOB) {From} JOIN metadata ON metadata.instance = instance.pk {Where(series, instance)} ORDER BY instance.pk
            """, study, series, instance);
        using var row = select.ExecuteReader();
        while (row.Read())
        {
            yield return (byte[])row[0];
        }
    }

    private static StoredInstance Read(SqliteDataReader row)
    {
        _ = ContentHash.TryParse(row.GetString(6), out var hash);
        return new StoredInstance(
            row.GetInt64(0), row.GetString(1), row.GetString(2), row.GetString(3), row.GetString(4), row.GetString(5), hash,
            row.GetInt64(7), row.GetString(8));
    }
}
