using System.Net.Http.Json;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Contracts;
using Yizhan.EmrAdapter.Hl7;
using Yizhan.EmrAdapter.Outbox;
using Yizhan.PacsGw;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.EmrAdapter.Tests;

/// <summary>A whole node with only this module, in a folder of its own.</summary>
internal sealed class Node : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly string _folder;
    private bool _keepFolder;

    private Node(WebApplication app, string folder)
    {
        (_app, _folder) = (app, folder);
        Http = Operator.Client(app, "/emr-adapter/");
        Http.Timeout = TimeSpan.FromMinutes(5);
    }

    public static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public HttpClient Http { get; }

    public IEventLog Log => Service<IEventLog>();

    public int MllpPort => Service<MllpListener>().EndPoint!.Port;

    public static Task<Node> StartAsync(params string[] settings) => StartInAsync(Directory.CreateTempSubdirectory("yizhan-emr-").FullName, settings);

    public static Task<Node> StartInAsync(string folder, params string[] settings) => StartInAsync(folder, host => host, settings);

    /// <summary>A site: this module and the gateway that shows modalities their worklist.</summary>
    public static Task<Node> StartSiteAsync(int dicomPort, params string[] settings) => StartInAsync(
        Directory.CreateTempSubdirectory("yizhan-site-").FullName, host => host.Add<PacsGwModule>(),
        [$"--pacs-gw:dicomPort={dicomPort}", "--pacs-gw:peers:0:aeTitle=CT-1", .. settings]);

    private static async Task<Node> StartInAsync(string folder, Func<ServiceHost, ServiceHost> more, string[] settings)
    {
        var app = more(new ServiceHost(
            [
                $"--node:dataFolder={folder}", "--node:siteId=site-a", "--web:url=http://127.0.0.1:0", "--log:level=none", "--storage:freeFloorBytes=0",
                "--emr-adapter:hl7:port=0", "--emr-adapter:firstPauseMs=20", "--emr-adapter:maxPauseMs=100", .. settings,
            ]).Add<EmrAdapterModule>()).Build();
        await app.StartAsync(Cancel);
        return new Node(app, folder);
    }

    /// <summary>Settings of an hl7 system on a port.</summary>
    public static string[] Hl7System(int port, int index = 0, string name = "emr", params string[] more) =>
        [$"--emr-adapter:systems:{index}:name={name}", $"--emr-adapter:systems:{index}:driver=hl7", $"--emr-adapter:systems:{index}:host=127.0.0.1", $"--emr-adapter:systems:{index}:port={port}",
            $"--emr-adapter:systems:{index}:timeoutMs=60000", .. more.Select(m => $"--emr-adapter:systems:{index}:{m}")];

    public T Service<T>() where T : notnull => _app.Services.GetRequiredService<T>();

    public Task<Node> RestartAsync(params string[] settings) => RestartAsync(_ => { }, settings);

    /// <summary>The same with something done to the folder while nothing runs.</summary>
    public async Task<Node> RestartAsync(Action<string> meanwhile, params string[] settings)
    {
        _keepFolder = true;
        await DisposeAsync();
        meanwhile(_folder);
        return await StartInAsync(_folder, settings);
    }

    /// <summary>Entries of a type.</summary>
    public async Task<IReadOnlyList<T>> EntriesAsync<T>(string type, JsonTypeInfo<T> json)
    {
        var found = new List<T>();
        var last = 0L;
        while (await Log.ReadAsync(last, 1000, Cancel) is { Count: > 0 } entries)
        {
            found.AddRange(entries.Where(e => e.Entry.Type == type).Select(e => JsonSerializer.Deserialize(e.Entry.Data.Span, json)!));
            last = entries[^1].Position;
        }

        return found;
    }

    public Task<IReadOnlyList<ProcedureScheduled>> StepsAsync() => EntriesAsync(ProcedureScheduled.EventType, ContractsJson.Default.ProcedureScheduled);

    public Task<IReadOnlyList<ImagingOrder>> OrdersAsync() => EntriesAsync(ImagingOrder.EventType, ContractsJson.Default.ImagingOrder);

    /// <summary>Steps that the worklist shows: the newest of each id, if it is scheduled.</summary>
    public async Task<IReadOnlyList<ProcedureScheduled>> WorklistAsync()
    {
        await FollowedAsync();
        return [.. (await StepsAsync()).GroupBy(s => s.Id).Select(g => g.Last()).Where(s => s.Status == "SCHEDULED")];
    }

    /// <summary>Returns once all that is in the log was followed, also what that added.</summary>
    public Task FollowedAsync() => Wait.UntilAsync(() => Service<EmrFollower>().Position == Log.LastPosition, "the log was followed");

    public async Task ReportAsync(ReportIssued report)
    {
        using var answer = await Http.PostAsJsonAsync("reports", report, ContractsJson.Default.ReportIssued, Cancel);
        Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync(Cancel));
    }

    public async Task<EmrSystemView> SystemAsync(string name = "emr") =>
        (await Http.GetFromJsonAsync("systems", ContractsJson.Default.IReadOnlyListEmrSystemView, Cancel))!.Single(s => s.Name == name);

    public IReadOnlyList<EmrMessageView> Messages(string? state = null) => Service<EmrOutbox>().List(null, state, null, 0, 1000);

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await _app.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
        if (!_keepFolder)
        {
            Directory.Delete(_folder, recursive: true);
        }
    }

    /// <summary>A report of an order's study.</summary>
    public static ReportIssued Report(string id, string status, string accession, string text = "No focal lesion.", long issuedMs = 1_790_000_000_000) =>
        new(id, "REPORT", status, "", accession, "", "CT chest", text, "Dr Li", issuedMs);
}
