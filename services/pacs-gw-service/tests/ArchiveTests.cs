using Microsoft.Data.Sqlite;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.PacsGw.Archive;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Tests;

public sealed class ArchiveTests
{
    private static TestInstance Instance(int i) => new("1.2.3", "1.2.3.4", $"1.{i}");

    [Fact]
    public async Task An_indexer_that_dies_between_writing_and_remembering_indexes_each_instance_once()
    {
        await using var gateway = await Gateway.StartAsync();
        await gateway.SendAsync([.. Enumerable.Range(1, 20).Select(i => Instance(i).ToSend())]);
        await gateway.IndexedAsync();

        // Everything again into an index of its own, with a transaction lost after each batch.
        var folder = Directory.CreateTempSubdirectory("yizhan-archive-");
        try
        {
            var node = Microsoft.Extensions.Options.Options.Create(new Platform.NodeOptions { DataFolder = folder.FullName });
            var database = new ArchiveDatabase(node);
            var position = 0L;
            var entries = await gateway.Log.ReadAsync(0, 1000, Gateway.Cancel);
            foreach (var entry in entries.Where(e => e.Entry.Type == InstanceStored.EventType))
            {
                for (var attempt = 0; attempt < 2; attempt++)
                {
                    using var db = database.OpenWriter();
                    Assert.Equal(position, ArchiveWriter.Cursor(db, gateway.Log.Epoch));
                    using var transaction = db.BeginTransaction();
                    using var statements = new ArchiveStatements(db);
                    var writer = new ArchiveWriter(statements, transaction, nowMs: 1);
                    Assert.Equal(IndexOutcome.Added, writer.Add(Archived(entry), out _));
                    writer.MoveCursor(gateway.Log.Epoch, entry.Position);
                    if (attempt == 1)
                    {
                        transaction.Commit();
                    }
                }

                position = entry.Position;
            }

            using var reader = database.OpenReader();
            Assert.Equal(20L, reader.Scalar("SELECT count(*) FROM instance"));
            Assert.Equal(20L, reader.Scalar("SELECT instances FROM study"));
        }
        finally
        {
            SqliteConnection.ClearAllPools();
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task An_index_that_was_lost_is_built_again_from_the_log_and_one_that_is_read_again_stays_the_same()
    {
        var gateway = await Gateway.StartAsync();
        try
        {
            await gateway.SendAsync([.. Enumerable.Range(1, 5).Select(i => Instance(i).ToSend())]);
            await gateway.IndexedAsync();
            var before = (await gateway.QueryAsync("instances?includefield=all")).ToJsonString();
            var database = gateway.Services.GetRequiredService<ArchiveDatabase>();
            using (var db = database.OpenWriter())
            {
                db.Run("UPDATE cursor SET epoch = 'of another log', position = 1000000");
            }

            gateway = await gateway.RestartAsync();
            await gateway.IndexedAsync();
            using (var db = gateway.Services.GetRequiredService<ArchiveDatabase>().OpenWriter())
            {
                Assert.InRange(ArchiveWriter.Cursor(db, gateway.Log.Epoch), 1, 999_999);
                Assert.Equal(5L, db.Scalar("SELECT count(*) FROM instance"));
                Assert.Equal(5L, db.Scalar("SELECT instances FROM study"));
                db.Run("DELETE FROM metadata; DELETE FROM instance; DELETE FROM series; DELETE FROM person_name; DELETE FROM person_word; DELETE FROM study; DELETE FROM patient; DELETE FROM cursor");
            }

            gateway = await gateway.RestartAsync();
            await gateway.IndexedAsync();
            Assert.Equal(Strip(before), Strip((await gateway.QueryAsync("instances?includefield=all")).ToJsonString()));
        }
        finally
        {
            await gateway.DisposeAsync();
        }

        static string Strip(string json) => System.Text.RegularExpressions.Regex.Replace(json, "127.0.0.1:[0-9]+", "");
    }

    [Fact]
    public async Task One_patient_identifier_with_two_names_is_counted_and_neither_study_loses_its_own()
    {
        await using var gateway = await Gateway.StartAsync();
        await gateway.SendAsync(
        [
            Instance(1).ToSend(),
            (Instance(2) with { Study = "1.2.9", PatientName = "Other^Person" }).ToSend(),
            (Instance(3) with { Date = "20200101" }).ToSend(),
        ]);
        await gateway.IndexedAsync();
        using var db = gateway.Services.GetRequiredService<ArchiveDatabase>().OpenReader();
        Assert.Equal(1L, db.Scalar("SELECT conflicts FROM patient"));
        Assert.Equal(1L, db.Scalar("SELECT conflicts FROM study WHERE uid = '1.2.3'"));
        Assert.Equal("Test^One", db.Scalar("SELECT patient_name FROM study WHERE uid = '1.2.3'"));
        Assert.Equal("Other^Person", db.Scalar("SELECT patient_name FROM study WHERE uid = '1.2.9'"));
    }

    [Fact]
    public async Task A_large_value_is_left_out_wherever_its_header_is_cut_by_a_read()
    {
        await using var gateway = await Gateway.StartAsync();

        // Reads are of 128 KiB; the header of the large value moves over that border, one step of two bytes at a time.
        for (var filler = 131_072 - 300; filler < 131_072 - 180; filler += 2)
        {
            var instance = new TestInstance("1.2.3", "1.2.3.4", "1.1")
            {
                Change = d => d
                    .SetBytes(new DicomTag(0x0009, 0x1001), new byte[filler], DicomVr.OB)
                    .SetBytes(new DicomTag(0x0009, 0x1002), new byte[1024 * 1024 + 2], DicomVr.OB),
            };
            var blobs = gateway.Services.GetRequiredService<IBlobStore>();
            await using var writer = blobs.Begin(Lane.Bulk);
            await writer.WriteAsync(instance.ToBytes(), Gateway.Cancel);
            var blob = await writer.CompleteAsync(Gateway.Cancel);
            await gateway.Log.AppendAsync([new Entry(Lane.Bulk, "test", $"test/{filler}", "", 0, "{}"u8.ToArray()) { Blobs = [blob] }], Gateway.Cancel);
            await using var reader = (await blobs.OpenAsync(blob.Hash, Gateway.Cancel))!;
            var header = await InstanceHeader.ReadAsync(reader, instance.Syntax, 64 * 1024 * 1024, Gateway.Cancel);
            Assert.Equal([new DicomTag(0x0009, 0x1002), DicomTags.PixelData], header.LargeValues.Select(v => v.Tag));
            Assert.False(header.Dataset.Contains(new DicomTag(0x0009, 0x1002)));
            Assert.Equal("1.1", header.Dataset.GetString(DicomTags.SOPInstanceUID));
            Assert.Equal(2, header.Dataset.GetInt32(DicomTags.Columns));
        }
    }

    private static ArchivedInstance Archived(LoggedEntry entry)
    {
        var stored = System.Text.Json.JsonSerializer.Deserialize(entry.Entry.Data.Span, ContractsJson.Default.InstanceStored)!;
        var json = Metadata.Minimal(stored);
        return new ArchivedInstance(stored, "site-a", entry.Entry.TimeMs, entry.Position, new JsonAttributes(json), json);
    }
}
