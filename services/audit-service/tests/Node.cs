using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Audit.Tests;

/// <summary>A node in a folder: its event log, and with <c>Start</c> the audit service on a free port.</summary>
internal sealed class Node : IAsyncDisposable
{
    private readonly WebApplication _app;

    private Node(WebApplication app) => _app = app;

    public IEventLog Events => _app.Services.GetRequiredService<IEventLog>();

    public AuditConsumer Consumer => _app.Services.GetRequiredService<AuditConsumer>();

    public T Service<T>() where T : notnull => _app.Services.GetRequiredService<T>();

    public HttpClient Http { get; private set; } = new();

    /// <summary>Only the event log.</summary>
    public static Node EventsOnly(string folder, string site = "centre") => new(Host(folder, site).Add<EventLogOnly>().Build());

    /// <summary>The whole service.</summary>
    public static async Task<Node> StartAsync(string folder, CancellationToken cancellationToken, params string[] settings)
    {
        var app = Host(folder, "centre", settings).Add<AuditModule>().Build();
        await app.StartAsync(cancellationToken);
        return new Node(app) { Http = Operator.Client(app) };
    }

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await _app.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
    }

    public static AuditRecord Record(int number, string entity = "study/1.2.3", string agent = "dr-li") =>
        new("110103", "R", 0, agent, "192.0.2.7", "pacs-gw@s1", entity, $"{number} instances", 1_700_000_000_000 + number);

    public static Entry EntryOf(AuditRecord record, string id) => new(
        Lane.Normal, AuditRecord.EventType, id, record.Entity, record.RecordedMs, JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord));

    public static Entry StoredEntry(string study, string association, int number)
    {
        var stored = new InstanceStored(study, $"{study}.1", $"{study}.1.{number}", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1", new string('a', 64), 10, "CT", "YIZHAN", association);
        return new Entry(
            Lane.Bulk, InstanceStored.EventType, $"{study}/{association}/{number}", study, 1_700_000_000_000 + number,
            JsonSerializer.SerializeToUtf8Bytes(stored, ContractsJson.Default.InstanceStored));
    }

    private static ServiceHost Host(string folder, string site, params string[] settings) =>
        new([$"--node:dataFolder={folder}", $"--node:siteId={site}", "--web:url=http://127.0.0.1:0", "--log:level=Error", .. settings]);

    private sealed class EventLogOnly : IServiceModule
    {
        public static string Name => "events";

        public static void Register(IHostApplicationBuilder builder) => builder.AddEventLog();

        public static void Map(IEndpointRouteBuilder routes)
        {
        }
    }
}
