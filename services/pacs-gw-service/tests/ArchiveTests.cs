using Microsoft.Data.Sqlite;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Yizhan.Contracts;
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
                    var writer = new ArchiveWriter(db, transaction, nowMs: 1);
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
                db.Run("UPDATE cursor SET epoch = 'of another log'");
            }

            gateway = await gateway.RestartAsync();
            await gateway.IndexedAsync();
            Assert.Equal(5, (await gateway.QueryAsync("instances")).Count);
            var study = (await gateway.QueryAsync("studies")).Single()!;
            Assert.Equal(5, (int)study["00201208"]!["Value"]![0]!);

            using (var db = gateway.Services.GetRequiredService<ArchiveDatabase>().OpenWriter())
            {
                db.Run("DELETE FROM metadata; DELETE FROM instance; DELETE FROM series; DELETE FROM person_name; DELETE FROM study; DELETE FROM patient; DELETE FROM cursor");
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
            (Instance(3) with { PatientName = "Third^Person" }).ToSend(),
        ]);
        await gateway.IndexedAsync();
        using var db = gateway.Services.GetRequiredService<ArchiveDatabase>().OpenReader();
        Assert.Equal(1L, db.Scalar("SELECT conflicts FROM patient"));
        Assert.Equal(1L, db.Scalar("SELECT conflicts FROM study WHERE uid = '1.2.3'"));
        Assert.Equal("Test^One", db.Scalar("SELECT patient_name FROM study WHERE uid = '1.2.3'"));
        Assert.Equal("Other^Person", db.Scalar("SELECT patient_name FROM study WHERE uid = '1.2.9'"));
    }

    private static ArchivedInstance Archived(LoggedEntry entry)
    {
        var stored = System.Text.Json.JsonSerializer.Deserialize(entry.Entry.Data.Span, ContractsJson.Default.InstanceStored)!;
        var json = Metadata.Minimal(stored);
        return new ArchivedInstance(stored, "site-a", entry.Entry.TimeMs, entry.Position, new JsonAttributes(json), json);
    }
}
