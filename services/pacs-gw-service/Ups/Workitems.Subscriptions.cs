using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Ups;

/// <summary>How a change of subscriptions ended.</summary>
internal enum SubscriptionOutcome
{
    /// <summary>Done, and durable.</summary>
    Done,

    /// <summary>There is no such workitem, or no such subscription.</summary>
    NotFound,

    /// <summary>As many application entities as are allowed have subscribed.</summary>
    TooMany,
}

/// <summary>
/// Who is told of what (PS3.4 §CC.2.3). A subscription to the worklist is one to each workitem that is there, and makes one to each that comes, so that
/// it can be ended for one workitem, or suspended for those to come. Workitems are not deleted here: a deletion lock is kept as long as it is asked for
/// because everything is.
/// </summary>
internal sealed partial class Workitems
{
    /// <summary>Well-known UID of the worklist (PS3.6 Table A-1).</summary>
    public const string Worklist = "1.2.840.10008.5.1.4.34.5";

    /// <summary>Well-known UID of the worklist behind a filter.</summary>
    public const string FilteredWorklist = "1.2.840.10008.5.1.4.34.5.1";

    /// <summary>Application entities that may have subscriptions.</summary>
    private const int MaxSubscribers = 256;

    private const string SubscriptionSchema = """
        -- Who is subscribed to each workitem that comes. Filter: empty for all.
        CREATE TABLE worklist_subscription (
            ae_title TEXT NOT NULL,
            filter   TEXT NOT NULL,
            PRIMARY KEY (ae_title, filter)
        ) STRICT, WITHOUT ROWID;

        -- Who is subscribed to a workitem that is there.
        CREATE TABLE subscription (
            workitem_uid TEXT NOT NULL,
            ae_title     TEXT NOT NULL,
            PRIMARY KEY (workitem_uid, ae_title)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX subscription_by_ae ON subscription (ae_title);
        """;

    /// <summary>Subscribes to one workitem, and reports where it stands.</summary>
    public Task<SubscriptionOutcome> SubscribeAsync(string aeTitle, string uid, CancellationToken cancellationToken) => SubscriptionAsync(() =>
    {
        if (Find(uid) is not { } found)
        {
            return (SubscriptionOutcome.NotFound, []);
        }

        if (!IsRoomFor(aeTitle))
        {
            return (SubscriptionOutcome.TooMany, []);
        }

        Add(aeTitle, uid);
        return (SubscriptionOutcome.Done, [(aeTitle, UpsEvent.StateReport(uid, Dataset(found)))]);
    }, cancellationToken);

    /// <summary>Subscribes to the worklist: to what is there and what comes, as far as it meets a filter. Reports all of it when that is asked for.</summary>
    /// <param name="aeTitle">Who.</param>
    /// <param name="filter">As <see cref="WorkitemFilter.Parse"/> reads it; empty for all.</param>
    /// <param name="report">Whether where each stands is reported: what PS3.4 §CC.2.4.3 says of a subscription with a deletion lock.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public Task<SubscriptionOutcome> SubscribeToWorklistAsync(string aeTitle, string filter, bool report, CancellationToken cancellationToken) => SubscriptionAsync(() =>
    {
        if (!IsRoomFor(aeTitle))
        {
            return (SubscriptionOutcome.TooMany, []);
        }

        using var insert = _db.Command("INSERT INTO worklist_subscription (ae_title, filter) VALUES ($1, $2) ON CONFLICT DO NOTHING", aeTitle, filter);
        insert.ExecuteNonQuery();
        var reports = new List<(string, UpsEvent)>();
        foreach (var workitem in All())
        {
            var dataset = Dataset(workitem);
            if (Wants(filter, dataset))
            {
                Add(aeTitle, workitem.WorkitemUid);
                if (report)
                {
                    reports.Add((aeTitle, UpsEvent.StateReport(workitem.WorkitemUid, dataset)));
                }
            }
        }

        return (SubscriptionOutcome.Done, reports);
    }, cancellationToken);

    /// <summary>Ends one subscription, or with a well-known UID all of an application entity.</summary>
    public Task<SubscriptionOutcome> UnsubscribeAsync(string aeTitle, string resource, CancellationToken cancellationToken) => SubscriptionAsync(() =>
    {
        if (resource is Worklist or FilteredWorklist)
        {
            var ended = Change("DELETE FROM worklist_subscription WHERE ae_title = $1", aeTitle) + Change("DELETE FROM subscription WHERE ae_title = $1", aeTitle);
            return (ended > 0 ? SubscriptionOutcome.Done : SubscriptionOutcome.NotFound, []);
        }

        return (Change("DELETE FROM subscription WHERE workitem_uid = $1 AND ae_title = $2", resource, aeTitle) > 0 ? SubscriptionOutcome.Done : SubscriptionOutcome.NotFound, []);
    }, cancellationToken);

    /// <summary>Workitems that come are no longer subscribed to; those that are subscribed to stay so.</summary>
    public Task<SubscriptionOutcome> SuspendAsync(string aeTitle, string resource, CancellationToken cancellationToken) => SubscriptionAsync(() =>
        (Change($"DELETE FROM worklist_subscription WHERE ae_title = $1 AND filter {(resource == Worklist ? "=" : "<>")} ''", aeTitle) > 0
            ? SubscriptionOutcome.Done : SubscriptionOutcome.NotFound, []), cancellationToken);

    private async Task<SubscriptionOutcome> SubscriptionAsync(
        Func<(SubscriptionOutcome, IReadOnlyList<(string AeTitle, UpsEvent Event)>)> change, CancellationToken cancellationToken)
    {
        await _gate.WaitAsync(cancellationToken);
        try
        {
            using var transaction = _db.BeginTransaction();
            var (outcome, reports) = change();
            transaction.Commit();
            foreach (var (aeTitle, report) in reports)
            {
                _connections.Send(aeTitle, report);
            }

            return outcome;
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>Subscribes those whose filter a workitem meets since this change. Part of the transaction that applies the change.</summary>
    private void SubscribeWhoWants(WorkitemChanged? known, WorkitemChanged changed)
    {
        List<(string AeTitle, string Filter)> wanted = [];
        using (var select = _db.Command("SELECT ae_title, filter FROM worklist_subscription"))
        {
            using var row = select.ExecuteReader();
            while (row.Read())
            {
                wanted.Add((row.GetString(0), row.GetString(1)));
            }
        }

        if (wanted.Count == 0)
        {
            return;
        }

        var (before, after) = (known is null ? null : Dataset(known), Dataset(changed));
        foreach (var (aeTitle, filter) in wanted)
        {
            // Who ended the subscription to one that met the filter before does not get it again.
            if (Wants(filter, after) && (before is null || !Wants(filter, before)))
            {
                Add(aeTitle, changed.WorkitemUid);
            }
        }
    }

    /// <summary>Tells those who are subscribed, once the change is durable; in the order of the changes, because the gate is held.</summary>
    private void Report(WorkitemChanged? known, WorkitemChanged changed, UpsEvent? cancelRequest)
    {
        List<string> subscribers = [];
        using (var select = _db.Command("SELECT ae_title FROM subscription WHERE workitem_uid = $1", changed.WorkitemUid))
        {
            using var row = select.ExecuteReader();
            while (row.Read())
            {
                subscribers.Add(row.GetString(0));
            }
        }

        if (subscribers.Count == 0)
        {
            return;
        }

        var events = UpsEvent.Between(changed.WorkitemUid, known is null ? null : Dataset(known), Dataset(changed)).ToList();
        if (cancelRequest is not null && changed.CancelRequested)
        {
            events.Add(cancelRequest);
        }

        foreach (var aeTitle in subscribers)
        {
            events.ForEach(e => _connections.Send(aeTitle, e));
        }
    }

    private static bool Wants(string filter, DicomDataset workitem) =>
        filter.Length == 0 || WorkitemFilter.Parse(filter, out _)?.Matches(workitem) == true;

    private bool IsRoomFor(string aeTitle)
    {
        using var others = _db.Command(
            "SELECT count(*) FROM (SELECT ae_title FROM worklist_subscription UNION SELECT ae_title FROM subscription) WHERE ae_title <> $1", aeTitle);
        return (long)others.ExecuteScalar()! < MaxSubscribers;
    }

    private void Add(string aeTitle, string uid) =>
        Change("INSERT INTO subscription (workitem_uid, ae_title) VALUES ($1, $2) ON CONFLICT DO NOTHING", uid, aeTitle);

    private int Change(string sql, params object?[] values)
    {
        using var command = _db.Command(sql, values);
        return command.ExecuteNonQuery();
    }

    private List<WorkitemChanged> All()
    {
        using var select = _db.Command("SELECT uid, version, state, transaction_uid, cancel_requested, json FROM workitem ORDER BY uid");
        using var row = select.ExecuteReader();
        var found = new List<WorkitemChanged>();
        while (row.Read())
        {
            found.Add(Read(row));
        }

        return found;
    }
}
