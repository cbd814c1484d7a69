using System.Globalization;
using System.Text.Json;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;
using Yizhan.Drills;
using Yizhan.Samples;

namespace Yizhan.Bench;

/// <summary>
/// What both archives are filled with: one study with a CT series of 500 slices, 100 studies of that day with five small
/// instances each, and as many small instances of earlier days as wanted, 100 to a study.
/// </summary>
internal static class PacsInstances
{
    /// <summary>The day of the 101 studies that are searched for.</summary>
    public const string Day = "20261122";

    /// <summary>Slices of the CT series.</summary>
    public const int Slices = 500;

    /// <summary>Small instances of a study of an earlier day.</summary>
    public const int PerStudy = 100;

    /// <summary>The CT series, from files that are made once.</summary>
    public static IReadOnlyList<StoreInstance> Ct(string folder)
    {
        var input = Path.Combine(folder, $"ct-{Slices}");
        if (!Directory.Exists(input))
        {
            CtStudy.WriteFiles(input, Slices, studies: 1, seed: 1);
        }

        return [.. Directory.GetFiles(input, "*.dcm").Order(StringComparer.Ordinal).Select(path => InstanceFile.Read(path, path).Instance)];
    }

    /// <summary>The CT series again under other UIDs, made while it is sent: for stores that have to be new.</summary>
    public static IReadOnlyList<StoreInstance> Copies(IReadOnlyList<StoreInstance> instances, int copy) =>
        [.. instances.Select((instance, i) =>
        {
            var uid = $"2.25.77{copy}.{i}";
            return instance with { SopInstanceUid = uid, Open = () => Renamed(instance, copy, uid) };
        })];

    /// <summary>The 100 studies of the day.</summary>
    public static IEnumerable<StoreInstance> OfTheDay() => Enumerable.Range(0, 500).Select(i => Small(1, i / 5, i % 5, Day));

    /// <summary>Small instances of earlier days.</summary>
    public static IEnumerable<StoreInstance> Earlier(int count) => Enumerable.Range(0, count).Select(i =>
        Small(2, i / PerStudy, i % PerStudy, DayOf(i / PerStudy)));

    /// <summary>The earlier day of a study.</summary>
    public static string DayOf(int study) => new DateOnly(2026, 11, 21).AddDays(-study % 3000).ToString("yyyyMMdd", CultureInfo.InvariantCulture);

    /// <summary>One new study of small instances.</summary>
    public static IReadOnlyList<StoreInstance> NewStudy(int study, int instances) =>
        [.. Enumerable.Range(0, instances).Select(i => Small(4, study, i, "20261123"))];

    /// <summary>Study Instance UID of <see cref="NewStudy"/>.</summary>
    public static string NewStudyUid(int study) => string.Create(CultureInfo.InvariantCulture, $"2.25.884.{study}");

    /// <summary>Sends over so many associations at once and fails unless all of it was stored; the seconds that it took.</summary>
    public static Task<double> SendAsync(
        PacsServer server, IReadOnlyList<StoreInstance> instances, int associations, CancellationToken cancellationToken) =>
        SendAsync(server.AeTitle, server.DicomPort, instances, associations, cancellationToken);

    /// <inheritdoc cref="SendAsync(PacsServer, IReadOnlyList{StoreInstance}, int, CancellationToken)"/>
    public static async Task<double> SendAsync(
        string aeTitle, int port, IReadOnlyList<StoreInstance> instances, int associations, CancellationToken cancellationToken)
    {
        var from = TimeProvider.System.GetTimestamp();
        var results = await Task.WhenAll(Enumerable.Range(0, associations).Select(n => new StoreScu(
                (request, token) => Connector.RequestAsync(
                    "127.0.0.1", port, request, new AssociationOptions(), TimeProvider.System, token),
                Scanner.AeTitle, aeTitle)
            .SendAsync([.. instances.Where((_, i) => i % associations == n)], cancellationToken)));
        var seconds = TimeProvider.System.GetElapsedTime(from).TotalSeconds;
        return results.SelectMany(r => r).FirstOrDefault(r => !r.IsStored) is { } lost
            ? throw new InvalidOperationException($"{aeTitle} did not store an instance: {lost.Outcome} 0x{lost.Status:X4} {lost.Message}")
            : seconds;
    }

    /// <summary>Returns once the archive answers searches for so many studies of the day.</summary>
    public static async Task IndexedAsync(PacsServer server, int studies, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(TimeSpan.FromMinutes(2));
        while (true)
        {
            var found = JsonDocument.Parse(await server.Http.GetStringAsync(
                new Uri($"studies?StudyDate={Day}&limit=1000", UriKind.Relative), limit.Token)).RootElement.GetArrayLength();
            if (found >= studies)
            {
                return;
            }

            await Task.Delay(TimeSpan.FromMilliseconds(100), TimeProvider.System, limit.Token);
        }
    }

    private static MemoryStream Renamed(StoreInstance instance, int copy, string uid)
    {
        using var source = instance.Open();
        using var bytes = new MemoryStream();
        source.CopyTo(bytes);
        var syntax = DicomTransferSyntax.Get(instance.TransferSyntaxUid);
        var dataset = DicomDataset.Parse(bytes.ToArray(), syntax)
            .Set(DicomTags.SOPInstanceUID, uid)
            .Set(DicomTags.StudyDate, "20250101")
            .Set(DicomTags.StudyInstanceUID, $"2.25.77{copy}")
            .Set(DicomTags.SeriesInstanceUID, $"2.25.77{copy}.0.1");
        return new MemoryStream(DicomWriter.ToArray(dataset, syntax), writable: false);
    }

    private static StoreInstance Small(int kind, int study, int number, string day) => new(
        DicomUids.CtImageStorage, Uid(kind, study, number), DicomTransferSyntax.ExplicitVrLittleEndian.Uid, () =>
        {
            var dataset = Header(kind, study, number, day).SetBytes(DicomTags.PixelData, new byte[512], DicomVr.OW);
            return new MemoryStream(DicomWriter.ToArray(dataset, DicomTransferSyntax.ExplicitVrLittleEndian), writable: false);
        });

    private static string Uid(int kind, int study, int number) => string.Create(CultureInfo.InvariantCulture, $"2.25.88{kind}.{study}.1.{number}");

    /// <summary>A small instance without its pixels.</summary>
    /// <param name="kind">Sets its patients and UIDs apart from those of other kinds.</param>
    /// <param name="study">Which study of the kind.</param>
    /// <param name="number">Which instance of its one series.</param>
    /// <param name="day">Study Date.</param>
    public static DicomDataset Header(int kind, int study, int number, string day) => new DicomDataset()
        .Set(DicomTags.SpecificCharacterSet, "ISO_IR 192")
        .Set(DicomTags.SOPClassUID, DicomUids.CtImageStorage)
        .Set(DicomTags.SOPInstanceUID, Uid(kind, study, number))
        .Set(DicomTags.StudyDate, day)
        .Set(DicomTags.StudyTime, "101500")
        .Set(DicomTags.AccessionNumber, $"B{kind}{study}")
        .Set(DicomTags.Modality, "CT")
        .Set(DicomTags.StudyDescription, "胸部平扫")
        .Set(DicomTags.SeriesDescription, "Thorax")
        .Set(DicomTags.PatientName, $"Synth^Patient {study}=王^小{(char)('一' + (study % 500))}")
        .Set(DicomTags.PatientID, $"BENCH-{kind}-{study}")
        .Set(DicomTags.PatientBirthDate, "19700101")
        .Set(DicomTags.PatientSex, "F")
        .Set(DicomTags.StudyInstanceUID, string.Create(CultureInfo.InvariantCulture, $"2.25.88{kind}.{study}"))
        .Set(DicomTags.SeriesInstanceUID, string.Create(CultureInfo.InvariantCulture, $"2.25.88{kind}.{study}.1"))
        .Set(DicomTags.StudyID, "1")
        .Set(DicomTags.SeriesNumber, 1)
        .Set(DicomTags.InstanceNumber, number + 1)
        .Set(DicomTags.SamplesPerPixel, 1)
        .Set(DicomTags.PhotometricInterpretation, "MONOCHROME2")
        .Set(DicomTags.Rows, 16)
        .Set(DicomTags.Columns, 16)
        .Set(DicomTags.BitsAllocated, 16)
        .Set(DicomTags.BitsStored, 12)
        .Set(DicomTags.HighBit, 11)
        .Set(DicomTags.PixelRepresentation, 0L);
}
