using Yizhan.Dicom;
using Yizhan.Dicom.Network;

namespace Yizhan.Bench;

/// <summary>Searches and metadata over DICOMweb.</summary>
internal static class PacsQueries
{
    private const string Json = "application/dicom+json";

    public static IEnumerable<PacsRequest> All(IReadOnlyList<StoreInstance> ct)
    {
        var (study, series) = Place(ct[0]);
        yield return Get("QIDO 101 studies", $"studies?StudyDate={PacsInstances.Day}&limit=200");
        yield return Get("QIDO by PatientID, 1 study", "studies?PatientID=BENCH-1-50") with { Repetitions = 300 };
        yield return Get("QIDO by name, 100 studies", $"studies?PatientName=SYNTH*&StudyDate={PacsInstances.Day}&limit=200");
        yield return Get("QIDO 500 instances of a series", $"studies/{study}/series/{series}/instances?limit=1000") with { Repetitions = 20 };
        yield return Get("metadata of 500 instances", $"studies/{study}/series/{series}/metadata") with { Repetitions = 20 };
    }

    /// <summary>The study and series of an instance.</summary>
    public static (string Study, string Series) Place(StoreInstance instance)
    {
        using var source = instance.Open();
        var header = new byte[4096];
        var inspector = new DicomStreamInspector(DicomTransferSyntax.Get(instance.TransferSyntaxUid));
        inspector.Push(header.AsSpan(0, source.ReadAtLeast(header, header.Length, throwOnEndOfStream: false)));
        return (inspector.Header.GetString(DicomTags.StudyInstanceUID)!, inspector.Header.GetString(DicomTags.SeriesInstanceUID)!);
    }

    /// <summary>One search or metadata request.</summary>
    public static PacsRequest Get(string name, string path) => new(name, (server, cancel) => server.GetAsync(path, Json, cancel));
}
