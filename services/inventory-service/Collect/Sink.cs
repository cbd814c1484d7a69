using System.Text.Json;
using Yizhan.Contracts;
using Yizhan.Inventory.Ledger;
using Yizhan.Storage;

namespace Yizhan.Inventory.Collect;

/// <summary>Where one run of a source puts what it finds: everything is durable when a call returns, and the same again changes nothing.</summary>
internal sealed class Sink(SourceOptions source, string site, LedgerWriter ledger, LedgerQueries queries, IEventLog log, TimeProvider clock)
{
    private const int MaxProblems = 5;
    private readonly List<string> _problems = [];
    private readonly HashSet<string> _defined = new(StringComparer.Ordinal);
    private long _refused;

    /// <summary>Movements that are recorded, now or before.</summary>
    public long Movements { get; private set; }

    /// <summary>Reports of equipment that are recorded.</summary>
    public long Assets { get; private set; }

    /// <summary>What was refused; empty when nothing was.</summary>
    public string Problem => _refused == 0 ? "" : $"{_refused} refused: {string.Join(" | ", _problems)}";

    /// <summary>Now, Unix milliseconds UTC.</summary>
    public long NowMs => clock.GetUtcNow().ToUnixTimeMilliseconds();

    /// <summary>Something of the run could not be used; the run is partial.</summary>
    public void Refuse(string problem)
    {
        _refused++;
        if (_problems.Count < MaxProblems)
        {
            _problems.Add(problem);
        }
    }

    /// <summary>Records movements under a name that is the same when they are collected again. What was observed and is so in the ledger already is left out.</summary>
    /// <exception cref="IOException">There is no room; nothing was recorded.</exception>
    public async Task RecordAsync(string batchId, IReadOnlyList<Movement> movements, CancellationToken cancellationToken)
    {
        var name = $"{source.Name}/{batchId}";
        if (queries.IsRecorded(site, name))
        {
            Movements += movements.Count;
            return;
        }

        var news = movements.Where(m => m.Kind != "count" || !queries.IsOnHand(site, m)).ToList();
        if (news.Count > 0)
        {
            switch (await ledger.RecordAsync(new MovementBatch(name, source.Name, source.Name, news), cancellationToken))
            {
                case ApplyResult.Applied or ApplyResult.Known:
                    break;
                case ApplyResult.NoRoom { Problem: var full }:
                    throw new IOException(full);
                case ApplyResult.Refused { Problem: var problem }:
                    Refuse(problem);
                    return;
            }
        }

        Movements += movements.Count;
    }

    /// <summary>Defines an item that the site does not know yet. What people defined stays.</summary>
    public async Task EnsureItemAsync(ItemDefinition item, CancellationToken cancellationToken)
    {
        if (_defined.Add(item.Code) && !queries.IsDefined(site, item.Code))
        {
            switch (await ledger.DefineAsync(item, cancellationToken))
            {
                case ApplyResult.Invalid { Problem: var problem }:
                    Refuse($"item '{item.Code}': {problem}");
                    break;
                case ApplyResult.NoRoom { Problem: var full }:
                    throw new IOException(full);
            }
        }
    }

    /// <summary>Records what equipment says of itself.</summary>
    /// <exception cref="SpoolFullException">There is no room.</exception>
    public async Task ReportAsync(AssetReported report, CancellationToken cancellationToken)
    {
        await ReportAsync(log, report, cancellationToken);
        Assets++;
    }

    /// <inheritdoc cref="ReportAsync(AssetReported, CancellationToken)"/>
    public static async Task<bool> ReportAsync(IEventLog log, AssetReported report, CancellationToken cancellationToken)
    {
        var receipts = await log.AppendAsync(
            [new Entry(Lane.Normal, AssetReported.EventType, $"inventory/asset/{report.Source}/{report.ReportId}", "inventory", report.SeenMs,
                JsonSerializer.SerializeToUtf8Bytes(report, ContractsJson.Default.AssetReported))], cancellationToken);
        return !receipts[0].AlreadyKnown;
    }
}
