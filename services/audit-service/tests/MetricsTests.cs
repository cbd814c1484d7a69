using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Reflection;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Audit.Tests;

public sealed class MetricsTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Dispose();

    [Fact]
    [Trait("Clause", "D6.1")]
    public async Task Size_what_is_still_to_be_read_and_gaps_are_figures()
    {
        await using var node = Node.EventsOnly(_folder.Path);
        for (var i = 0; i < 6; i++)
        {
            await node.Events.AppendAsync([Node.EntryOf(Node.Record(i), $"r{i}")], Cancel);
        }

        var events = LeakyLog.Over(node.Events, entry => entry.Identity.Sequence is not (3 or 4));
        var nodeOptions = node.Service<IOptions<NodeOptions>>();
        using var consumer = new AuditConsumer(events, nodeOptions, Options.Create(new AuditOptions { CommitIntervalMs = 0 }), TimeProvider.System, NullLogger<AuditConsumer>.Instance);
        using var metrics = new AuditMetrics(consumer, events, node.Service<IMeterFactory>(), nodeOptions);
        Assert.Equal([("yizhan.audit.behind", 6), ("yizhan.audit.gaps", 0)], Read(node));

        await consumer.StartAsync(Cancel);
        await Wait.UntilAsync(() => consumer.ReadThrough == events.LastPosition, Cancel);
        Assert.Equal([("yizhan.audit.behind", 0), ("yizhan.audit.gaps", 1), ("yizhan.audit.size", 5)], Read(node));
        await consumer.StopAsync(Cancel);
    }

    private static (string Name, long Value)[] Read(Node node)
    {
        var read = new ConcurrentBag<(string, long)>();
        using var listener = new MeterListener();
        listener.InstrumentPublished = (instrument, own) =>
        {
            // Other tests have nodes of their own in this process.
            if (instrument.Meter.Name == "Yizhan.Audit" && ReferenceEquals(instrument.Meter.Scope, node.Service<IMeterFactory>()))
            {
                own.EnableMeasurementEvents(instrument);
            }
        };
        listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) =>
        {
            Assert.Equal(new("site", "centre"), tags.ToArray().Single());
            read.Add((instrument.Name, value));
        });
        listener.Start();
        listener.RecordObservableInstruments();
        return [.. read.Order()];
    }

#pragma warning disable CA1852, CA2012 // The proxy is derived from it, and passes on what it returns.
    /// <summary>An event log that does not give some of its entries away: what a source that lost them looks like.</summary>
    private class LeakyLog : DispatchProxy
    {
        private IEventLog _log = null!;
        private Func<LoggedEntry, bool> _given = null!;

        public static IEventLog Over(IEventLog log, Func<LoggedEntry, bool> given)
        {
            var proxy = Create<IEventLog, LeakyLog>();
            (((LeakyLog)(object)proxy)._log, ((LeakyLog)(object)proxy)._given) = (log, given);
            return proxy;
        }

        protected override object? Invoke(MethodInfo? targetMethod, object?[]? args) =>
            targetMethod!.Name == nameof(IEventLog.ReadAsync) ? ReadAsync((long)args![0]!, (int)args[1]!, (CancellationToken)args[2]!) : targetMethod.Invoke(_log, args);

        private async ValueTask<IReadOnlyList<LoggedEntry>> ReadAsync(long after, int most, CancellationToken cancellationToken) =>
            [.. (await _log.ReadAsync(after, most, cancellationToken)).Where(_given)];
    }
}
