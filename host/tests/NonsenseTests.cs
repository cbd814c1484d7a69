using System.Text;
using Yizhan.Contracts;
using Yizhan.Storage;

namespace Yizhan.Host.Tests;

/// <summary>A site that was taken over writes what it likes into its log, and the link brings it. It may spoil its own facts; it does not stop the region.</summary>
[Trait("Clause", "S1")]
public sealed class NonsenseTests : IAsyncLifetime
{
    private static readonly string[] Nonsense = ["nonsense", "null", "[]", "{}", "7", """{"studyInstanceUid":null}""", "\"\\ud800\"", "{\"id\":\"\\ud800\"}"];

    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-nonsense-").FullName;
    private WebApplication _centre = null!;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        var rules = Path.Combine(_folder, "rules.yaml");
        await File.WriteAllTextAsync(rules, "destinations:\n  research: { aeTitle: RESEARCH, host: 127.0.0.1, port: 11113 }\nrules:\n  - name: all\n    route: research\n", Cancel);
        _centre = Nodes.Centre([
            $"--node:dataFolder={Path.Combine(_folder, "centre")}", "--web:url=http://127.0.0.1:0", "--log:level=critical", "--storage:freeFloorBytes=0", "--pacs-gw:dicomPort=0",
            "--fleet:linkPort=0", $"--pacs-gw:rulesFile={rules}"]).Build();
        await _centre.StartAsync(Cancel);
    }

    public async ValueTask DisposeAsync()
    {
        await _centre.StopAsync(CancellationToken.None);
        await _centre.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    public async Task Events_of_every_type_with_nonsense_in_them_are_read_past_by_everybody()
    {
        var types = typeof(AuditRecord).Assembly.GetTypes().Select(t => t.GetField("EventType")?.GetRawConstantValue() as string).OfType<string>().Distinct().ToArray();
        Assert.True(types.Length >= 25, $"Only {types.Length} types of events were found.");
        var log = _centre.Services.GetRequiredService<IEventLog>();
        var epoch = Guid.NewGuid();
        var entries = types.SelectMany(type => Nonsense.Select(data => (type, data))).Select((e, i) => new LoggedEntry(
            0, new EntryIdentity("taken-over", epoch, Lane.Normal, i + 1), new Entry(Lane.Normal, e.type, $"nonsense/{i}", "nonsense", 1_700_000_000_000, Encoding.UTF8.GetBytes(e.data)))).ToArray();
        Assert.Equal(entries.Length, await log.ReceiveAsync(entries, Cancel));
        var last = log.LastPosition;

        var stopping = _centre.Services.GetRequiredService<IHostApplicationLifetime>().ApplicationStopping;
        foreach (var consumer in _centre.Services.GetServices<ILogConsumer>())
        {
            await Wait.UntilAsync(async () => stopping.IsCancellationRequested || await consumer.ReadThroughAsync(Cancel) >= last);
            Assert.False(stopping.IsCancellationRequested, $"The node stops while {consumer.Name} reads.");
        }
    }
}
