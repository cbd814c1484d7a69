using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.PacsGw.Archive;
using Yizhan.Platform.Identity;
using Yizhan.Storage;

namespace Yizhan.PacsGw.DicomWeb;

/// <summary>Who reads.</summary>
/// <param name="Agent">The person or program that signed in, or the AE title.</param>
/// <param name="Address">Where from; null when there is no network between.</param>
internal readonly record struct Reader(string Agent, string? Address)
{
    /// <summary>Who makes a request.</summary>
    public static Reader Of(HttpContext context) => new(Caller.AgentOf(context), context.Connection.RemoteIpAddress?.ToString());
}

/// <summary>
/// Records who reads what, before the first byte goes out. A viewer that fetches one study with hundreds of requests makes one
/// entry: the first request of an agent for an entity appends, the others within <see cref="PacsGwOptions.AuditWindowSeconds"/>
/// wait for that append and add nothing.
/// </summary>
internal sealed class ReadAudit(IEventLog log, StoredInstances stored, TimeProvider clock, IOptions<PacsGwOptions> options)
{
    /// <summary>DICOM Instances Accessed (PS3.15 A.5.3.4).</summary>
    public const string InstancesAccessed = "110103";

    /// <summary>Query (PS3.15 A.5.3.10).</summary>
    public const string Query = "110112";

    /// <summary>Windows that are remembered. Beyond it the oldest are forgotten, which makes more entries, never fewer.</summary>
    private const int MaxWindows = 10_000;

    private const string Study = "study/";

    private readonly Lock _gate = new();
    private readonly Dictionary<(string, Reader, string), Window> _windows = [];
    private readonly TimeSpan _length = TimeSpan.FromSeconds(options.Value.AuditWindowSeconds);

    /// <summary>Returns once the access is durably recorded, with the patient of the study, so that "who looked at this patient" finds it.</summary>
    /// <param name="eventId">One of the constants of this class.</param>
    /// <param name="reader">Who.</param>
    /// <param name="entity">What, such as <c>study/1.2.3</c>. Never a name or a value that was searched for.</param>
    /// <param name="detail">A few words; null when there is nothing to say.</param>
    /// <param name="cancellationToken">Stops the wait, not the record.</param>
    /// <exception cref="IOException">It could not be recorded: do not answer.</exception>
    public Task RecordAsync(string eventId, Reader reader, string entity, string? detail, CancellationToken cancellationToken)
    {
        var key = (eventId, reader, entity);
        lock (_gate)
        {
            var now = clock.GetTimestamp();
            if (_windows.TryGetValue(key, out var window) && clock.GetElapsedTime(window.Start, now) < _length
                && !window.Append.IsFaulted && !window.Append.IsCanceled)
            {
                return window.Append.WaitAsync(cancellationToken);
            }

            ForgetOld_NeedsLock(now);
            var append = AppendAsync(eventId, reader, entity, detail);
            _windows[key] = new Window(now, append);
            return append.WaitAsync(cancellationToken);
        }
    }

    private async Task AppendAsync(string eventId, Reader reader, string entity, string? detail)
    {
        var recorded = clock.GetUtcNow();
        var record = new AuditRecord(
            eventId, eventId == Query ? "E" : "R", 0, reader.Agent, reader.Address, $"pacs-gw@{log.Site}", entity, detail,
            recorded.ToUnixTimeMilliseconds(), Entries.AuditedPatient(PatientOf(entity)));
        await log.AppendAsync(
            [Entries.Of(record, $"audit/{log.Site}/{Guid.CreateVersion7(recorded):N}")], CancellationToken.None);
    }

    private string? PatientOf(string entity) => entity.StartsWith(Study, StringComparison.Ordinal) ? stored.PatientOf(entity[Study.Length..]) : null;

    private void ForgetOld_NeedsLock(long now)
    {
        if (_windows.Count < MaxWindows)
        {
            return;
        }

        foreach (var key in _windows.Where(w => clock.GetElapsedTime(w.Value.Start, now) >= _length).Select(w => w.Key).ToList())
        {
            _windows.Remove(key);
        }

        foreach (var key in _windows.OrderBy(w => w.Value.Start).Take(_windows.Count - (MaxWindows / 2)).Select(w => w.Key).ToList())
        {
            _windows.Remove(key);
        }
    }

    private readonly record struct Window(long Start, Task Append);
}
