using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Dapper;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.AiInfer.Clinical;
using Yizhan.AiInfer.Repository;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Platform.Bundles;
using Yizhan.Storage;

namespace Yizhan.AiInfer.Rollout;

/// <summary>
/// Which version of a model a study is analysed by. A new version goes from watching (0 %) over 10 and 50 to 100 percent of the studies; one that fails, slows down, drifts
/// or disagrees is held by itself. All of it is local, so it works without the centre.
/// </summary>
internal sealed partial class RolloutDesk(
    AnalysisDatabase database, ModelRepository repository, AnalysisTurn turn, IEventLog log, RolloutMetrics metrics, IOptions<AiInferOptions> options, IOptions<NodeOptions> node, TimeProvider clock,
    ILogger<RolloutDesk> logger)
{
    /// <summary>Steps of a rollout, in percent of the studies.</summary>
    public static readonly int[] Steps = [0, 10, 50, 100];

    /// <summary>Who holds a version when nobody has asked.</summary>
    internal const string GuardName = "guard";

    private readonly ILogger _logger = logger;

    /// <summary>The version for a study: the same for all its series, whatever changes meanwhile. No version, and the reason, when the model is stopped.</summary>
    public (string? Version, IReadOnlyList<string> Compare, string? Reason) Choose(string model, string study)
    {
        var newest = repository.Versions(model);
        if (newest.Count == 0)
        {
            return (null, [], $"There is no model '{model}' on this node.");
        }

        return database.Do<(string?, IReadOnlyList<string>, string?)>(c =>
        {
            var state = Require(c, model, newest);
            if (state.Stopped is { } stopped)
            {
                return (null, [], $"{model} is held: {stopped}");
            }

            var chosen = c.QueryFirstOrDefault<string>("SELECT version FROM choice WHERE model = @model AND study_uid = @study", new { model, study });
            if (chosen is not null && chosen != state.Stable && chosen != state.Candidate)
            {
                return (null, [], $"The study was begun by {model} {chosen}, which is held or replaced; its series are not mixed with results of {state.Stable}.");
            }

            if (chosen is null)
            {
                chosen = state.Candidate is not null && Share(model, study) < state.Percent ? state.Candidate : state.Stable;
                c.Execute("INSERT INTO choice (model, study_uid, version) VALUES (@model, @study, @chosen)", new { model, study, chosen });
            }

            string[] compare = state.Candidate is null ? [] : chosen == state.Stable ? [state.Candidate] : [state.Stable];
            return (chosen, compare, null);
        });
    }

    /// <summary>Place of a study among 100, the same at every site and time.</summary>
    internal static int Share(string model, string study) =>
        (int)(BinaryPrimitives.ReadUInt64BigEndian(SHA256.HashData(Encoding.UTF8.GetBytes($"{model}\n{study}"))) % 100);

    /// <summary>Gives a version a part of the studies; 100 makes it the one for all.</summary>
    /// <exception cref="BundleRefusedException">There is no such version, or no such step.</exception>
    public Task<RolloutView> PromoteAsync(string model, string version, int percent, string who, string reason, CancellationToken cancellationToken, long? order = null)
    {
        if (!Steps.Contains(percent))
        {
            throw new BundleRefusedException($"{percent} % is no step of a rollout; accepted: {string.Join(", ", Steps)}.");
        }

        _ = repository.Bundle(model, version);
        return ChangeAsync(model, "promote", version, percent, who, reason, (c, state) => percent == 100
            ? state with { Stable = version, Candidate = null, Percent = 0, Stopped = null }
            : version == state.Stable ? throw new BundleRefusedException($"{model} {version} has all studies already.")
            : state with { Candidate = version, Percent = percent, Stopped = null }, cancellationToken, order);
    }

    /// <summary>Takes the candidate out of the rollout, or stops the model when there is none or all of it is meant.</summary>
    public Task<RolloutView> HoldAsync(string model, bool all, string who, string reason, CancellationToken cancellationToken, long? order = null)
    {
        var state = View(model);
        return ChangeAsync(
            model, all || state.Candidate is null ? "stop" : "hold", all || state.Candidate is null ? state.Stable : state.Candidate, 0, who, reason,
            (_, s) => all || s.Candidate is null ? s with { Stopped = reason, Candidate = null, Percent = 0 } : s with { Candidate = null, Percent = 0 }, cancellationToken, order);
    }

    /// <summary>Goes back to the version that had all studies before this one, and starts a stopped model again.</summary>
    /// <exception cref="BundleRefusedException">There was none, or it is not here any more.</exception>
    public Task<RolloutView> RollbackAsync(string model, string who, string reason, CancellationToken cancellationToken, long? order = null)
    {
        var state = View(model);
        var before = Line(state).LastOrDefault(version => version != state.Stable);
        var to = state.Candidate is not null || state.Stopped is not null && before is null ? state.Stable : before
            ?? throw new BundleRefusedException($"{model} has no version before {state.Stable} that was not rolled back: there is nothing to go back to. 'hold' stops it, 'promote' chooses another.");
        _ = repository.Bundle(model, to);
        return ChangeAsync(model, "rollback", to, 100, who, reason, (_, s) => s with { Stable = to, Candidate = null, Percent = 0, Stopped = null }, cancellationToken, order);
    }

    /// <summary>Versions that had all studies, the present one last. What was rolled back is not among them: nobody goes back to what was found wrong.</summary>
    private static List<string> Line(RolloutView state)
    {
        var line = new List<string>();
        foreach (var change in state.History.Reverse())
        {
            if (change.Action == "rollback" && line.LastIndexOf(change.Version) is >= 0 and var at)
            {
                line.RemoveRange(at + 1, line.Count - at - 1);
            }
            else if (change.Action is "begin" or "rollback" or "promote" && (change.Action != "promote" || change.Percent == 100) && line.LastOrDefault() != change.Version)
            {
                line.Add(change.Version);
            }
        }

        return line;
    }

    /// <summary>
    /// Does what somebody at the centre has ordered, once, as if it were asked here. What cannot be done is in the history as refused, with the reason, so that the centre learns of it.
    /// </summary>
    public async Task ObeyAsync(RolloutOrder order, CancellationToken cancellationToken)
    {
        var (who, request) = ($"{order.Who} at the centre", order.Request);
        if (repository.Versions(order.Model).Count == 0)
        {
            NoSuchModel(order.Number, order.Model);
            return;
        }

        try
        {
            await (order.Action switch
            {
                "promote" => PromoteAsync(order.Model, request.Version ?? throw new BundleRefusedException("A version is needed."), request.Percent ?? 100, who, request.Reason, cancellationToken, order.Number),
                "hold" => HoldAsync(order.Model, request.All, who, request.Reason, cancellationToken, order.Number),
                "rollback" => RollbackAsync(order.Model, who, request.Reason, cancellationToken, order.Number),
                _ => throw new BundleRefusedException($"'{order.Action}' is no change of a rollout; accepted: {string.Join(", ", RolloutOrder.Actions)}."),
            });
        }
        catch (BundleRefusedException e)
        {
            await ChangeAsync(
                order.Model, "refused", request.Version ?? "", request.Percent ?? 0, who, Clinical.Dicom.Producer.Cut($"{order.Action}: {e.Message}", 500), (_, s) => s, cancellationToken, order.Number);
        }
    }

    /// <summary>State and history of a model.</summary>
    /// <exception cref="BundleRefusedException">There is no such model.</exception>
    public RolloutView View(string model)
    {
        var versions = repository.Versions(model);
        return versions.Count == 0 ? throw new BundleRefusedException($"There is no model '{model}' on this node.") : database.Do(c => View(c, Require(c, model, versions)));
    }

    /// <summary>Records how a version did, and holds it when it did badly.</summary>
    public void Note(Outcome outcome, string? problem)
    {
        metrics.Note(outcome);
        var verdict = database.Do(c =>
        {
            c.Execute(
                "INSERT INTO outcome (model, version, series_uid, ok, ms, total_ml, input_mean) VALUES (@Model, @Version, @Series, @Ok, @Ms, @TotalMl, @InputMean)", outcome);
            c.Execute(
                "DELETE FROM outcome WHERE model = @Model AND version = @Version AND id <= (SELECT max(id) FROM outcome WHERE model = @Model AND version = @Version) - 4000", outcome);
            return Guard.Judge(c, outcome.Model, outcome.Version, Require(c, outcome.Model, repository.Versions(outcome.Model)), options.Value.Guard);
        });
        if (verdict is { } reason)
        {
            var why = problem is null ? reason : $"{reason}; the last one: {problem}";
            Held(outcome.Model, outcome.Version, why);
            // The rollout itself is changed before anything else is analysed; only the record of it may have to wait.
            Hold(outcome.Model, outcome.Version, why);
        }
    }

    private void Hold(string model, string version, string reason)
    {
        var change = Apply(model, "hold", version, 0, GuardName, reason, (_, s) => s.Candidate == version ? s with { Candidate = null, Percent = 0 } : s with { Stopped = reason });
        _ = RecordAsync(change.Record, change.Id!).ContinueWith(t => NotRecorded(t.Exception!), CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
    }

    private async Task RecordAsync(AuditRecord record, string id)
    {
        try
        {
            await turn.LeaveWordAsync(CancellationToken.None);
        }
        catch (Exception e) when (e is IOException or TurnLostException)
        {
            // The next beat says it, or another process judges for itself.
        }

        await AuditAsync(record, id, CancellationToken.None);
    }

    private async Task<RolloutView> ChangeAsync(
        string model, string action, string version, int percent, string who, string reason, Func<SqliteConnection, State, State> change, CancellationToken cancellationToken,
        long? order = null)
    {
        if (reason.Trim().Length is 0 or > 500)
        {
            throw new BundleRefusedException("A reason of 1 to 500 characters is needed.");
        }

        turn.Require(turn.Number);
        var (record, id, view) = Apply(model, action, version, percent, who, reason, change, order);
        if (id is null)
        {
            return view;
        }

        await turn.LeaveWordAsync(cancellationToken);
        await AuditAsync(record, id, cancellationToken);
        Changed(model, action, version, percent, who, reason);
        return view;
    }

    /// <summary>Changes state and history together; no id when it is an order that was done before.</summary>
    private (AuditRecord Record, string? Id, RolloutView View) Apply(
        string model, string action, string version, int percent, string who, string reason, Func<SqliteConnection, State, State> change, long? order = null)
    {
        var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var (row, view) = database.Do(c =>
        {
            var before = Require(c, model, repository.Versions(model));
            if (order is not null && c.Execute("INSERT INTO obeyed (number) VALUES (@order) ON CONFLICT DO NOTHING", new { order }) == 0)
            {
                return ((long?)null, View(c, before));
            }

            var next = change(c, before);
            c.Execute("UPDATE rollout SET stable = @Stable, candidate = @Candidate, percent = @Percent, stopped = @Stopped WHERE model = @Model", next);
            var id = c.QuerySingle<long>(
                "INSERT INTO history (model, at_ms, action, version, percent, who, reason) VALUES (@model, @now, @action, @version, @percent, @who, @reason) RETURNING id",
                new { model, now, action, version, percent, who, reason });
            return ((long?)id, View(c, next));
        });
        return (new AuditRecord("110100", "U", 0, who, null, $"ai-infer@{node.Value.SiteId}", $"model/{model}", $"{action} {version} {percent} %: {reason}", now),
            row is null ? null : string.Create(System.Globalization.CultureInfo.InvariantCulture, $"audit:rollout:{log.Epoch:N}:{row}:{now}"), view);
    }

    private async Task AuditAsync(AuditRecord record, string id, CancellationToken cancellationToken) => await log.AppendAsync(
        [new Entry(Lane.Normal, AuditRecord.EventType, id, record.Entity, record.RecordedMs, JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord))], cancellationToken);

    /// <summary>The state; a model that nobody has said anything about begins with its oldest version.</summary>
    private State Require(SqliteConnection c, string model, IReadOnlyList<string> versions)
    {
        if (c.QueryFirstOrDefault<State>("SELECT model, stable, candidate, percent, stopped FROM rollout WHERE model = @model", new { model }) is { } state)
        {
            return state;
        }

        var first = new State(model, versions[0], null, 0, null);
        c.Execute("INSERT INTO rollout (model, stable, candidate, percent, stopped) VALUES (@Model, @Stable, NULL, 0, NULL)", first);
        c.Execute(
            "INSERT INTO history (model, at_ms, action, version, percent, who, reason) VALUES (@Model, @now, 'begin', @Stable, 100, 'node', 'first version on this node')",
            new { first.Model, first.Stable, now = clock.GetUtcNow().ToUnixTimeMilliseconds() });
        return first;
    }

    private static RolloutView View(SqliteConnection c, State state) => new(
        state.Model, state.Stable, state.Candidate, (int)state.Percent, state.Stopped,
        [.. c.Query<(long AtMs, string Action, string Version, long Percent, string Who, string Reason)>(
            "SELECT at_ms, action, version, percent, who, reason FROM history WHERE model = @Model ORDER BY id DESC LIMIT 100", new { state.Model })
            .Select(h => new RolloutChange(h.AtMs, h.Action, h.Version, (int)h.Percent, h.Who, h.Reason))]);

    [LoggerMessage(4040, LogLevel.Critical, "{Model} {Version} is held: {Reason}")]
    private partial void Held(string model, string version, string reason);

    [LoggerMessage(4041, LogLevel.Information, "{Model}: {Action} {Version} to {Percent} % by {Who}: {Reason}")]
    private partial void Changed(string model, string action, string version, int percent, string who, string reason);

    [LoggerMessage(4043, LogLevel.Warning, "Order {Number} of the centre is about model {Model}, which is not here.")]
    private partial void NoSuchModel(long number, string model);

    [LoggerMessage(4042, LogLevel.Error, "A hold could not be recorded in the audit log; it holds all the same.")]
    private partial void NotRecorded(Exception exception);
}

/// <summary>Versions of a model and what they get.</summary>
internal sealed record State(string Model, string Stable, string? Candidate, long Percent, string? Stopped);

/// <summary>How a version did on one series.</summary>
internal sealed record Outcome(string Model, string Version, string Series, bool Ok, double Ms, double? TotalMl, double? InputMean);
