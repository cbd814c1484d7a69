using System.Diagnostics.Metrics;
using System.Text.Json;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Station.Updates;

/// <summary>
/// Whether this site may be restarted now. It may not while somebody's scan, analysis or dictation is under way or was a moment ago, while an urgent
/// finding waits for the line, or outside the site's hours. Nothing is ever forced: what waits too long is a figure that a person is called for, and a
/// person may say "now", with a name and a reason.
/// </summary>
internal sealed class IdleGate : BackgroundService
{
    /// <summary>Between two looks. Work that begins and ends in between is seen by its count.</summary>
    private static readonly TimeSpan Look = TimeSpan.FromSeconds(1);

    private readonly IClinicalWork[] _work;
    private readonly IEventLog _log;
    private readonly TimeProvider _clock;
    private readonly TimeSpan _quiet;
    private readonly UpdateWindow? _window;
    private readonly TimeZoneInfo _zone;
    private readonly Meter _meter;
    private readonly Lock _lock = new();
    private readonly long[] _begun;
    private readonly long?[] _lastAt;
    private long? _waitingSince;
    private (string By, long At, TimeSpan For)? _allowed;

    public IdleGate(IEnumerable<IClinicalWork> work, IEventLog log, IOptions<StationOptions> options, TimeProvider clock, IMeterFactory meters)
    {
        (_work, _log, _clock) = ([.. work], log, clock);
        _quiet = TimeSpan.FromSeconds(options.Value.UpdateQuietSeconds);
        _window = UpdateWindow.TryParse(options.Value.UpdateWindow ?? "", out var window) ? window : null;
        _zone = TimeZoneInfo.FindSystemTimeZoneById(options.Value.TimeZone);
        _begun = [.. _work.Select(w => w.Begun)];
        _lastAt = new long?[_work.Length];
        _meter = meters.Create("Yizhan.Updates");
        _meter.CreateObservableGauge(
            "yizhan.station.update_waiting", () => new Measurement<long>(Waiting(), new KeyValuePair<string, object?>("site", log.Site)), "s",
            "For how long an update or a configuration has waited for this site to be idle.");
    }

    /// <summary>What would be answered now; nothing waits because of this question.</summary>
    public UpdateGateView View()
    {
        lock (_lock)
        {
            Sample();
            var reasons = Reasons();
            var by = AllowedBy();
            return new(reasons.Count == 0 || by is not null, reasons, by, Waiting());
        }
    }

    /// <summary>Asked by what wants to restart the site: a "no" begins its waiting, a "yes" ends it.</summary>
    public UpdateGateView Ask()
    {
        lock (_lock)
        {
            var view = View();
            _waitingSince = view.Open ? null : _waitingSince ?? _clock.GetTimestamp();
            return view;
        }
    }

    /// <summary>Lets the site be restarted for some minutes, whatever is under way. It is in the audit log before it counts.</summary>
    public async Task AllowAsync(UpdateAllowance allowance, CancellationToken cancellationToken)
    {
        var nowMs = _clock.GetUtcNow().ToUnixTimeMilliseconds();
        var record = new AuditRecord(
            "110110", "E", 0, allowance.By, null, $"station@{_log.Site}", $"update/{_log.Site}",
            $"restart allowed for {allowance.Minutes} min: {allowance.Reason}", nowMs);
        await _log.AppendAsync(
            [new Entry(
                Lane.Normal, AuditRecord.EventType, $"update/allow/{_log.Epoch}/{nowMs}", record.Entity, nowMs,
                JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord))], cancellationToken);
        lock (_lock)
        {
            _allowed = (allowance.By, _clock.GetTimestamp(), TimeSpan.FromMinutes(allowance.Minutes));
        }
    }

    public override void Dispose()
    {
        _meter.Dispose();
        base.Dispose();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            lock (_lock)
            {
                Sample();
            }

            await Task.Delay(Look, _clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private void Sample()
    {
        for (var i = 0; i < _work.Length; i++)
        {
            var begun = _work[i].Begun;
            if (_work[i].UnderWay > 0 || begun != _begun[i])
            {
                (_begun[i], _lastAt[i]) = (begun, _clock.GetTimestamp());
            }
        }
    }

    private List<string> Reasons()
    {
        var reasons = new List<string>();
        for (var i = 0; i < _work.Length; i++)
        {
            if (_work[i].UnderWay is > 0 and var open)
            {
                reasons.Add($"Under way: {open} {_work[i].Kind}.");
            }
            else if (_lastAt[i] is { } last && _clock.GetElapsedTime(last) is var since && since < _quiet)
            {
                // A study comes in several associations with pauses between them.
                reasons.Add($"The last {_work[i].Kind} ended {since.TotalSeconds:0} s ago; the site counts as idle after {_quiet.TotalSeconds:0} s.");
            }
        }

        if (_log.Usage(Lane.Urgent).Entries is > 0 and var urgent)
        {
            reasons.Add($"{urgent} urgent {(urgent == 1 ? "entry waits" : "entries wait")} for the centre.");
        }

        if (_window is { } window && TimeOnly.FromDateTime(TimeZoneInfo.ConvertTime(_clock.GetUtcNow(), _zone).DateTime) is var time && !window.Contains(time))
        {
            reasons.Add($"It is {time:HH\\:mm} in {_zone.Id}; this site is restarted between {window.From:HH\\:mm} and {window.To:HH\\:mm}.");
        }

        return reasons;
    }

    private string? AllowedBy() => _allowed is { } allowed && _clock.GetElapsedTime(allowed.At) < allowed.For ? allowed.By : null;

    private long Waiting() => _waitingSince is { } since ? (long)_clock.GetElapsedTime(since).TotalSeconds : 0;
}
