using System.Buffers.Binary;
using System.Formats.Tar;
using System.IO.Compression;
using System.Text;
using System.Text.Json;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.Tests;

/// <summary>Encryption at rest: what the disk says, what is found when it is changed, what is gone when a day's keys are destroyed.</summary>
public sealed class SealingTests : IDisposable
{
    private const string Patient = "DOE^JANE-4711";
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-sealing-").FullName;

    public static TheoryData<string> Stores => new("sqlite", "segments");

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private string Data => Path.Combine(_folder, "data");

    private string LogFolder => Path.Combine(Data, "log");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [MemberData(nameof(Stores))]
    [Trait("Clause", "D4.6")]
    public async Task What_a_disk_holds_says_nothing_about_a_patient(string kind)
    {
        await using (var store = LocalStore.Open(kind, folder: LogFolder))
        {
            await AppendAsync(store, "1");
        }

        Assert.False(OnDisk(Patient));
        await using var again = LocalStore.Open(kind, folder: LogFolder);
        await AssertReadsAsync(again, "1");

        // Without the seal it is there, so that it would have been found.
        again.Options.Encrypt = false;
        await again.ReopenAsync();
        await AppendAsync(again, "2");
        await AssertReadsAsync(again, "1", "2");
        await again.ReopenAsync();
        Assert.True(OnDisk(Patient));
        await AssertReadsAsync(again, "1", "2");
    }

    [Theory]
    [MemberData(nameof(Stores))]
    public async Task An_image_that_somebody_changed_checksums_and_all_is_found(string kind)
    {
        await using var store = LocalStore.Open(kind, folder: LogFolder);
        await AppendAsync(store, "1");
        await store.ReopenAsync();
        var path = Directory.GetFiles(Path.Combine(LogFolder, "segments"), "*.seg").Order(StringComparer.Ordinal).First();
        var record = await File.ReadAllBytesAsync(path, Cancel);
        var at = Enumerable.Range(1, 100).Select(page => page * Record.Alignment).First(offset => record[offset + 8] == (byte)RecordKind.Extent);
        var header = record.AsSpan(at, Record.HeaderBytes);
        var payload = record.AsSpan(at + Record.HeaderBytes, BinaryPrimitives.ReadInt32LittleEndian(header[12..]));
        payload[17] ^= 1;
        BinaryPrimitives.WriteUInt32LittleEndian(header[40..], Record.Crc32C(payload[..Math.Min(payload.Length, Record.ChunkBytes)]));
        BinaryPrimitives.WriteUInt32LittleEndian(header[4..], Record.Crc32C(header[8..], Record.Crc32C(header[..4])));
        await File.WriteAllBytesAsync(path, record, Cancel);

        var changed = await Assert.ThrowsAsync<InvalidDataException>(async () => await store.Blobs.ReadAllAsync(Given.Ref(Image("1")).Hash));
        Assert.Contains("without its key", changed.Message, StringComparison.Ordinal);
        var report = await VerifyAsync(store);
        Assert.Equal("blob", Assert.Single(report.Damaged).Kind);
    }

    [Fact]
    public void An_entry_that_somebody_changed_or_put_into_the_place_of_another_is_found()
    {
        using var keys = LocalStore.Keys(new Yizhan.Simulation.SimulatedDisk(), "/log", TimeProvider.System);
        var (entry, fact) = (Given.Entry("e1") with { Blobs = [Given.Ref([1])] }, FactKey.Of("site-a", "e1"));
        var (kept, isSealed) = EntrySeal.Seal(keys, entry, fact, position: 7);
        Assert.True(isSealed);
        var logged = new LoggedEntry(7, new EntryIdentity("site-a", Guid.Empty, Lane.Normal, 1), kept);
        Assert.Equal(entry.Data.ToArray(), EntrySeal.Open(keys, logged, fact).Entry.Data.ToArray());

        var changed = kept.Data.ToArray();
        changed[^1] ^= 1;
        foreach (var other in new[]
        {
            logged with { Position = 8 },
            logged with { Entry = kept with { Data = changed } },
            logged with { Entry = kept with { TimeMs = 1 } },
            logged with { Entry = kept with { Type = "yizhan.test.other.v1" } },
            logged with { Entry = kept with { Blobs = [Given.Ref([2])] } },
        })
        {
            Assert.Throws<InvalidDataException>(() => EntrySeal.Open(keys, other, fact));
        }

        Assert.Throws<InvalidDataException>(() => EntrySeal.Open(keys, logged, FactKey.Of("site-b", "e1")));
    }

    [Theory]
    [MemberData(nameof(Stores))]
    public async Task A_shredded_day_is_gone_on_purpose_and_the_next_day_is_as_it_was(string kind)
    {
        await using var store = LocalStore.Open(kind, folder: LogFolder);
        var day = store.Clock.GetUtcNow().ToString("yyyy-MM-dd", System.Globalization.CultureInfo.InvariantCulture);
        await AppendAsync(store, "1");
        using var maintenance = Maintenance(store);
        Assert.Contains("is not over", (await ShredAsync<ArgumentException>(store, day)).Message, StringComparison.Ordinal);
        store.Clock.Advance(TimeSpan.FromDays(1));
        await AppendAsync(store, "2");
        Assert.Contains("not at the centre yet", (await ShredAsync<InvalidOperationException>(store, day)).Message, StringComparison.Ordinal);
        await ShredAsync<ArgumentException>(store, "1999-01-01");
        await ShredAsync<ArgumentException>(store, "yesterday");
        await store.Log.MarkDeliveredAsync(Lane.Bulk, 2, Cancel);

        Assert.Equal((1, 0, 1, false), await SeenAsync(() => Task.FromResult(maintenance.LookAtDay(day))));
        Assert.Equal((1, 0, 1, true), await SeenAsync(() => maintenance.ShredAsync(day, false, "operator", "retention is over", Cancel)));
        for (var round = 0; round < 2; round++)
        {
            var entries = (await store.Log.ReadAllAsync()).Select(e => e.Entry).ToList();
            Assert.Equal([EntryShredded.EventType, "yizhan.test.image.v1", AuditRecord.EventType], entries.Select(e => e.Type));
            var stands = JsonSerializer.Deserialize(entries[0].Data.Span, ContractsJson.Default.EntryShredded);
            Assert.Equal(new EntryShredded("yizhan.test.image.v1", day), stands);
            var gone = await Assert.ThrowsAsync<InvalidDataException>(async () => await store.Blobs.ReadAllAsync(Given.Ref(Image("1")).Hash));
            Assert.IsType<ShreddedException>(gone.InnerException);
            Assert.Equal(Image("2"), await store.Blobs.ReadAllAsync(Given.Ref(Image("2")).Hash));

            var report = await VerifyAsync(store);
            Assert.True(report.Ok, string.Join('\n', report.Damaged));
            Assert.Equal(2, report.Shredded);
            await ShredAsync<ArgumentException>(store, day);
            await store.ReopenAsync();
        }
    }

    [Theory]
    [MemberData(nameof(Stores))]
    public async Task What_was_shredded_may_come_again_and_the_old_entry_takes_nothing_of_it_when_it_goes(string kind)
    {
        await using var store = LocalStore.Open(kind, folder: LogFolder);
        var day = store.Clock.GetUtcNow().ToString("yyyy-MM-dd", System.Globalization.CultureInfo.InvariantCulture);
        await AppendAsync(store, "1");
        await AppendAsync(store, "2");
        await store.Log.MarkDeliveredAsync(Lane.Bulk, 2, Cancel);
        store.Clock.Advance(TimeSpan.FromDays(1));
        using var maintenance = Maintenance(store);
        await maintenance.ShredAsync(day, false, "operator", "retention is over", Cancel);

        // Once written here, once sent by another site.
        await store.AppendWithBlobAsync("again", Image("1"));
        var second = Given.Ref(Image("2"));
        Assert.Equal([new ByteRange(0, second.Length)], await store.Blobs.MissingAsync(second, Cancel));
        for (var at = 0; at < second.Length; at += IBlobStore.ChunkBytes)
        {
            await store.Blobs.PutAsync(second, at, Image("2").AsMemory(at, (int)Math.Min(IBlobStore.ChunkBytes, second.Length - at)), Cancel);
        }

        await store.Log.AppendAsync(Given.Entry("again-2", Lane.Bulk, 40, second));
        for (var round = 0; round < 3; round++)
        {
            Assert.Equal(Image("1"), await store.Blobs.ReadAllAsync(Given.Ref(Image("1")).Hash));
            Assert.Equal(Image("2"), await store.Blobs.ReadAllAsync(second.Hash));
            await store.ReopenAsync();
            if (round == 0)
            {
                await store.Log.ReleaseAsync(Lane.Bulk, 2, Cancel);
            }
        }

        await store.Log.MarkDeliveredAsync(Lane.Bulk, 4, Cancel);
        await store.Log.ReleaseAsync(Lane.Bulk, 4, Cancel);
        Assert.Null(await store.Blobs.ReadAllAsync(Given.Ref(Image("1")).Hash));
        Assert.Null(await store.Blobs.ReadAllAsync(second.Hash));
    }

    [Theory]
    [MemberData(nameof(Stores))]
    public async Task Without_its_site_key_a_log_does_not_open_and_says_what_is_missing(string kind)
    {
        await using (var store = LocalStore.Open(kind, folder: LogFolder))
        {
            await AppendAsync(store, "1");
        }

        var path = Path.Combine(Data, "storage", "site.key");
        if (!OperatingSystem.IsWindows())
        {
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(path));
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead);
            Assert.Contains("chmod 600", Refused(kind), StringComparison.Ordinal);
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        }

        File.Move(path, path + ".away");
        Assert.Contains("is missing", Refused(kind), StringComparison.Ordinal);
        SiteKeyFile.Open(path, create: true);
        Assert.Contains("is wrapped by the site key", Refused(kind), StringComparison.Ordinal);
        File.Move(path + ".away", path, overwrite: true);
        await using var again = LocalStore.Open(kind, folder: LogFolder);
        await AssertReadsAsync(again, "1");
    }

    [Theory]
    [MemberData(nameof(Stores))]
    public async Task A_backup_has_the_keys_and_names_the_site_key_that_it_does_not_have(string kind)
    {
        var (backups, key) = (Path.Combine(_folder, "backups"), Path.Combine(_folder, "safe", "site.key"));
        Directory.CreateDirectory(Path.GetDirectoryName(key)!);
        var options = new StorageOptions { Store = kind, BackupFolder = backups, SiteKeyFile = key };
        await using (var store = LocalStore.Open(kind, folder: LogFolder, siteKey: key))
        {
            await AppendAsync(store, "1");
            using var maintenance = new LogMaintenance(store.Spool, new NodeOptions { DataFolder = Data }, options, store.Clock);
            await maintenance.BackupAsync(null, Cancel);
        }

        var to = Path.Combine(_folder, "to");
        var manifest = Restore.Run(backups, to);
        Assert.Equal((SiteKeyFile.Open(key, create: false).Id, null), (manifest.SiteKey, manifest.SiteKeyFile));
        Assert.Contains("is missing", Assert.Throws<InvalidOperationException>(() => { LocalStore.Open(kind, folder: Path.Combine(to, "log")); }).Message, StringComparison.Ordinal);
        Directory.CreateDirectory(Path.Combine(to, "storage"));
        File.Copy(key, Path.Combine(to, "storage", "site.key"));
        await using var copy = LocalStore.Open(kind, folder: Path.Combine(to, "log"));
        await AssertReadsAsync(copy, "1");
    }

    [Theory]
    [MemberData(nameof(Stores))]
    public async Task What_the_version_before_encryption_wrote_is_read_and_written_on(string kind)
    {
        Directory.CreateDirectory(LogFolder);
        await using (var resource = typeof(SealingTests).Assembly.GetManifestResourceStream(kind + ".tar.gz")!)
        await using (var packed = new GZipStream(resource, CompressionMode.Decompress))
        {
            await TarFile.ExtractToDirectoryAsync(packed, LogFolder, overwriteFiles: false, Cancel);
        }

        var old = Enumerable.Range(0, 5).Select(i => Enumerable.Repeat((byte)(i + 65), (i * 30_000) + 3900 + (i * 50)).ToArray())
            .Append([.. Enumerable.Repeat((byte)90, 1_200_000)]).ToList();
        await using var store = LocalStore.Open(kind, folder: LogFolder);
        for (var round = 0; round < 2; round++)
        {
            Assert.Equal(11 + round, (await store.Log.ReadAllAsync()).Count);
            foreach (var blob in old)
            {
                Assert.Equal(blob, await store.Blobs.ReadAllAsync(Given.Ref(blob).Hash));
            }

            Assert.True((await VerifyAsync(store)).Ok);
            await AppendAsync(store, $"{round}");
            await store.ReopenAsync();
        }

        await store.Log.MarkDeliveredAsync(Lane.Bulk, 8, Cancel);
        await store.Log.ReleaseAsync(Lane.Bulk, 8, Cancel);
        await store.ReopenAsync();
        Assert.Equal(5, (await store.Log.ReadAllAsync()).Count);
    }

    private static byte[] Image(string name) => Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat($"{Patient} {name} ", 5_000)));

    private static Task<Receipt> AppendAsync(LocalStore store, string name) => store.AppendImageAsync(Patient, name, Image(name));

    private static async Task AssertReadsAsync(LocalStore store, params string[] names)
    {
        var entries = (await store.Log.ReadAllAsync()).Select(e => e.Entry).ToList();
        Assert.Equal(names.Select(name => (Patient + name, Patient)), entries.Select(e => (e.Id, e.Key)));
        Assert.All(entries, e => Assert.Contains(Patient, Encoding.UTF8.GetString(e.Data.Span), StringComparison.Ordinal));
        foreach (var name in names)
        {
            Assert.Equal(Image(name), await store.Blobs.ReadAllAsync(Given.Ref(Image(name)).Hash));
        }
    }

    private LogMaintenance Maintenance(LocalStore store) => new(store.Spool, new NodeOptions { DataFolder = Data }, store.Options, store.Clock);

    private async Task<VerifyReport> VerifyAsync(LocalStore store)
    {
        using var maintenance = Maintenance(store);
        return await maintenance.VerifyAsync(null, null, Cancel);
    }

    private async Task<T> ShredAsync<T>(LocalStore store, string day)
        where T : Exception
    {
        using var maintenance = Maintenance(store);
        return await Assert.ThrowsAsync<T>(() => maintenance.ShredAsync(day, false, "operator", "a test", Cancel));
    }

    private static async Task<(long Entries, long Undelivered, long Blobs, bool Done)> SeenAsync(Func<Task<ShredReport>> report)
    {
        var seen = await report();
        return (seen.Entries, seen.Undelivered, seen.Blobs, seen.Done);
    }

    private string Refused(string kind) => Assert.Throws<InvalidOperationException>(() => { LocalStore.Open(kind, folder: LogFolder); }).Message;

    private bool OnDisk(string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        return Directory.EnumerateFiles(Data, "*", SearchOption.AllDirectories)
            .Where(path => Path.GetFileName(path) is not ("lock" or "balloon"))
            .Any(path =>
            {
                using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
                var all = new byte[file.Length];
                file.ReadExactly(all);
                return all.AsSpan().IndexOf(bytes) >= 0;
            });
    }
}
