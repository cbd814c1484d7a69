using Yizhan.Dicom;
using Yizhan.Drills;
using Yizhan.Samples;

namespace Yizhan.EndToEnd.Tests;

public sealed class KilledStationTests(ITestOutputHelper output)
{
    private const int InstancesPerRound = 12;

    /// <summary>Each is a start of a whole site, of which a busy machine has few in the minutes of the short run; <c>./check long</c> makes fifty.</summary>
    private static readonly int Kills = Environment.GetEnvironmentVariable("YIZHAN_LONG") is null ? 20 : 50;

    [Fact]
    [Trait("Clause", "D4.6")]
    [Trait("Clause", "S2")]
    public async Task A_station_killed_again_and_again_while_it_receives_and_ships_loses_and_doubles_nothing()
    {
        var cancellationToken = TestContext.Current.CancellationToken;
        using var folder = new TemporaryFolder();
        var seed = Environment.TickCount;
        var random = new Random(seed);
        output.WriteLine($"seed {seed}");
        var ledger = new Ledger();
        WriteSmallInstances(folder.In("input"), Kills * InstancesPerRound);
        var files = InstanceFile.ReadFolder(folder.In("input"), ledger);
        Assert.Equal(Kills * InstancesPerRound, files.Count);
        ledger.CountSent(files.Count);

        var site = LocalSite.Prepare(folder.In("nodes"), LocalSite.DcmtkPeers, LocalPorts.Free());
        await using var centre = await site.StartCentreAsync(cancellationToken);
        await using var line = new LinkRelay(site.Ports.SiteLink, site.Ports.CentreLink);
        line.Open();
        var scanner = new Scanner(site.Ports.Dicom, ledger);
        var left = files.ToList();
        var killedWhileSending = 0;
        for (var round = 0; round < Kills && left.Count > 0; round++)
        {
            await using var edge = await site.StartEdgeAsync(cancellationToken);

            // Killed after a number of answers and not after a time, which says nothing on a machine that is slower: from before the first to the last of those that are its share.
            // More are on their way, so that the association is still there.
            var some = left.Take(3 * InstancesPerRound).ToList();
            var aim = scanner.Stored + random.Next(InstancesPerRound);
            var sending = scanner.SendAsync(some, cancellationToken);
            while (!sending.IsCompleted && scanner.Stored < aim)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(1), TimeProvider.System, cancellationToken);
            }

            killedWhileSending += sending.IsCompleted ? 0 : 1;
            await edge.KillAsync();
            left = [.. await sending, .. left.Skip(some.Count)];
        }

        var underFire = ledger.Acknowledged.Count;
        await using var survivor = await site.StartEdgeAsync(cancellationToken);
        await scanner.SendAllAsync(left, cancellationToken);
        using var view = new CentreView(site);
        await view.WaitForAsync(ledger.Acknowledged, TimeSpan.FromMinutes(3), cancellationToken);
        var verdict = ledger.Compare(view.Instances, await view.HashAllAsync(ledger.Acknowledged, cancellationToken));

        output.WriteLine($"figures: {Kills} kills ({killedWhileSending} in the middle of an association), {verdict.Sent} sent, "
            + $"{underFire} acknowledged between kills, {verdict.Acknowledged} in the end, {verdict.Arrived} arrived, {verdict.Duplicates} duplicates, {verdict.Lost} lost");
        Assert.Equal((files.Count, files.Count, 0, 0), (verdict.Acknowledged, verdict.Arrived, verdict.Duplicates, verdict.Lost));
        Assert.True(killedWhileSending > Kills / 10, $"Only {killedWhileSending} kills hit an association; the test shows too little.");
        Assert.True(underFire > Kills, $"Only {underFire} instances were acknowledged between kills; the test shows too little.");
    }

    /// <summary>Small images, so that many associations and commits fit into the test's minutes.</summary>
    private static void WriteSmallInstances(string folder, int count)
    {
        Directory.CreateDirectory(folder);
        var pixels = new byte[64 * 1024];
        for (var i = 0; i < count; i++)
        {
            new Random(i).NextBytes(pixels);
            var dataset = new DicomDataset()
                .Set(DicomTags.SOPClassUID, "1.2.840.10008.5.1.4.1.1.7")
                .Set(DicomTags.SOPInstanceUID, $"2.25.7{i:00000}")
                .Set(DicomTags.Modality, "OT")
                .Set(DicomTags.PatientID, "KILLED")
                .Set(DicomTags.StudyInstanceUID, $"2.25.7{i / 100}")
                .Set(DicomTags.SeriesInstanceUID, $"2.25.7{i / 100}.1")
                .Set(DicomTags.SamplesPerPixel, 1)
                .Set(DicomTags.PhotometricInterpretation, "MONOCHROME2")
                .Set(DicomTags.Rows, 256)
                .Set(DicomTags.Columns, 256)
                .Set(DicomTags.BitsAllocated, 8)
                .Set(DicomTags.BitsStored, 8)
                .Set(DicomTags.HighBit, 7)
                .Set(DicomTags.PixelRepresentation, 0L)
                .SetBytes(DicomTags.PixelData, pixels.ToArray(), DicomVr.OB);
            File.WriteAllBytes(Path.Combine(folder, $"{i:00000}.dcm"), CtStudy.ToFile(dataset));
        }
    }
}
