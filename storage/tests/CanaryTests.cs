using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.Tests;

/// <summary>Files that nobody has a reason to touch, and what happens when somebody does.</summary>
[Trait("Clause", "D8.3")]
public sealed class CanaryTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-canary-").FullName;
    private readonly Meters _meters = new();
    private LocalStore _store = null!;
    private LogMaintenance _maintenance = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public ValueTask InitializeAsync()
    {
        _store = LocalStore.Open("sqlite", folder: Path.Combine(_folder, "data", "log"));
        _maintenance = new LogMaintenance(_store.Spool, Node, Settings, _store.Clock);
        return ValueTask.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        _maintenance.Dispose();
        _meters.Dispose();
        await _store.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    private NodeOptions Node => new() { DataFolder = Path.Combine(_folder, "data") };

    private StorageOptions Settings => new() { BackupFolder = Path.Combine(_folder, "backups"), CanarySeconds = 1 };

    public static TheoryData<string, Action<string>> Attacks => new()
    {
        { "000-canary/accounts.xlsx", data => File.WriteAllBytes(Path.Combine(data, "000-canary", "accounts.xlsx"), new byte[4200]) },
        { "zzz-canary/patients.sql", data => File.Delete(Path.Combine(data, "zzz-canary", "patients.sql")) },
        { "zzz-canary/READ_ME.txt", data => File.WriteAllText(Path.Combine(data, "zzz-canary", "READ_ME.txt"), "pay") },
        { "000-canary/backup.docx", data => File.Move(Path.Combine(data, "000-canary", "backup.docx"), Path.Combine(data, "000-canary", "backup.docx.locked")) },
        { "000-canary/accounts.xlsx", data => Directory.Delete(Path.Combine(data, "000-canary"), recursive: true) },
    };

    [Theory]
    [MemberData(nameof(Attacks))]
    public async Task Whoever_changes_renames_or_deletes_one_is_said_and_no_backup_is_made_any_more(string named, Action<string> attack)
    {
        using var canaries = Open();
        canaries.Lay();
        Assert.False(canaries.Look());
        Assert.Equal(HealthStatus.Healthy, (await canaries.CheckHealthAsync(new(), Cancel)).Status);
        await _maintenance.BackupAsync(null, Cancel);

        attack(Node.DataFolder);
        Assert.True(canaries.Look());
        Assert.Contains(named, canaries.Changed);
        Assert.Equal(HealthStatus.Unhealthy, (await canaries.CheckHealthAsync(new(), Cancel)).Status);
        Assert.Contains("canary", (await Assert.ThrowsAsync<InvalidOperationException>(() => _maintenance.BackupAsync(null, Cancel))).Message, StringComparison.Ordinal);
        Assert.Single(Directory.GetDirectories(Settings.BackupFolder!));

        // What was said once is not said again each second, and is not taken back.
        Assert.False(canaries.Look());
        Assert.NotEmpty(canaries.Changed);
    }

    [Fact]
    public void A_start_on_changed_ones_says_so_and_a_start_on_a_restored_folder_does_not()
    {
        using (var first = Open())
        {
            first.Lay();
            Assert.False(first.Look());
        }

        using (var again = Open())
        {
            again.Lay();
            Assert.False(again.Look());
        }

        File.AppendAllText(Path.Combine(Node.DataFolder, "000-canary", "accounts.xlsx"), "x");
        using var after = Open();
        after.Lay();
        Assert.True(after.Look());
    }

    [Fact]
    public async Task A_running_node_records_it_in_lane_urgent()
    {
        using var canaries = Open();
        await canaries.StartAsync(Cancel);
        while (!File.Exists(Path.Combine(Node.DataFolder, "000-canary", "accounts.xlsx")))
        {
            await Task.Delay(1, Cancel);
        }

        File.WriteAllText(Path.Combine(Node.DataFolder, "000-canary", "backup.docx"), "garbage");
        List<LoggedEntry> entries;
        do
        {
            _store.Clock.Advance(TimeSpan.FromSeconds(1));
            await Task.Delay(1, Cancel);
            entries = await _store.Log.ReadAllAsync();
        }
        while (entries.Count == 0);
        await canaries.StopAsync(Cancel);
        var entry = Assert.Single(entries).Entry;
        Assert.Equal((Lane.Urgent, AuditRecord.EventType), (entry.Lane, entry.Type));
        Assert.Contains("backup.docx", System.Text.Encoding.UTF8.GetString(entry.Data.Span), StringComparison.Ordinal);
    }

    private Canaries Open() =>
        new(Options.Create(Node), Options.Create(Settings), _maintenance, _store.Log, _store.Clock, _meters, NullLogger<Canaries>.Instance);

    private sealed class Meters : System.Diagnostics.Metrics.IMeterFactory
    {
        public System.Diagnostics.Metrics.Meter Create(System.Diagnostics.Metrics.MeterOptions options) => new(options);

        public void Dispose()
        {
        }
    }
}
