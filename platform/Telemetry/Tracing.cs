using System.Diagnostics;

namespace Yizhan.Platform.Telemetry;

/// <summary>
/// The traces of the platform: one source, one span for each hop of the work. A trace begins where work begins (an association, a request), its context
/// travels with the entries of the event log (W3C Trace Context, <c>traceparent</c>), and goes on wherever an entry is handled, hours later if the line was
/// down. A span never says who the patient is.
/// </summary>
public static class Tracing
{
    /// <summary>Most traces of one batch that get a span of their own; the others of that batch get none.</summary>
    public const int MaxHops = 32;

    /// <summary>Traces and hops whose spans are counted; beyond it counting begins anew.</summary>
    private const int MaxCounted = 4096;

    private static readonly Lock Gate = new();
    private static readonly Dictionary<(string Hop, ActivityTraceId Trace), (int Spans, long Last)> Counted = [];

    /// <summary>
    /// Pieces of one work, such as the instances of an association or the batches that it comes to, that get a span of their own. Of the others only those do that failed or were slow: a study has
    /// hundreds, and the 300th span says what the third said. All of them carry the trace on.
    /// </summary>
    public const int MaxPieces = 4;

    /// <summary>A piece that takes longer is slow.</summary>
    public static readonly TimeSpan Slow = TimeSpan.FromSeconds(1);

    /// <summary>Where all spans come from. Nobody listens: nothing is made.</summary>
    public static readonly ActivitySource Source = new("Yizhan");

    /// <summary>Context of the work that is going on, for <c>Entry.TraceParent</c>; null when it is not traced.</summary>
    public static string? Parent => Activity.Current is { IdFormat: ActivityIdFormat.W3C } activity ? activity.Id : null;

    /// <summary>
    /// Goes on with one trace. The span is the current one until it is disposed, so that a request sent meanwhile carries it (<c>traceparent</c>). Null when nobody listens or
    /// nothing was traced.
    /// </summary>
    /// <param name="name">What is done, such as <c>tell</c>.</param>
    /// <param name="kind">Whether it is sent, taken or handled.</param>
    /// <param name="traceParent">Context that was kept with the work; null and what is no context begin nothing.</param>
    public static Activity? Resume(string name, ActivityKind kind, string? traceParent) =>
        ActivityContext.TryParse(traceParent, null, isRemote: true, out var parent) ? Source.StartActivity(name, kind, parent) : null;

    /// <summary>A span for what has ended already and turned out to be worth one: it ends now and began so long ago, below the work that is going on.</summary>
    /// <param name="name">What was done.</param>
    /// <param name="kind">Whether it is sent, taken or handled.</param>
    /// <param name="took">How long.</param>
    /// <param name="clock">Says what now is.</param>
    public static Activity? Afterwards(string name, ActivityKind kind, TimeSpan took, TimeProvider clock) =>
        Source.StartActivity(name, kind, Activity.Current?.Context ?? default, startTime: clock.GetUtcNow() - took);

    /// <summary>
    /// Goes on with the traces of a batch: one span for each trace that it holds, all of which end together. A trace that comes in many batches has spans for the first
    /// <see cref="MaxPieces"/> of them and then for one in <see cref="Slow"/>: enough to see when the rest came, after an outage too.
    /// </summary>
    /// <param name="name">What is done, such as <c>index</c>.</param>
    /// <param name="kind">Whether it is sent, taken or handled.</param>
    /// <param name="traceParents">Contexts of the batch's entries; nulls and what is no context are passed over.</param>
    public static Hops Continue(string name, ActivityKind kind, IEnumerable<string?> traceParents) => Continue(name, kind, traceParents, TimeProvider.System);

    /// <inheritdoc cref="Continue(string, ActivityKind, IEnumerable{string?})"/>
    internal static Hops Continue(string name, ActivityKind kind, IEnumerable<string?> traceParents, TimeProvider clock)
    {
        if (!Source.HasListeners())
        {
            return default;
        }

        // The work of a batch belongs to each of its traces, and not to whatever was going on when the loop was started.
        var current = Activity.Current;
        Activity.Current = null;
        var byTrace = new Dictionary<ActivityTraceId, Hop>();
        var byContext = new Dictionary<string, Hop?>(StringComparer.Ordinal);
        foreach (var traceParent in traceParents)
        {
            if (traceParent is null)
            {
                continue;
            }

            // What came over one association has one context, so it is read once.
            if (!byContext.TryGetValue(traceParent, out var hop))
            {
                if (ActivityContext.TryParse(traceParent, null, isRemote: true, out var parent) && !byTrace.TryGetValue(parent.TraceId, out hop) && byTrace.Count < MaxHops)
                {
                    byTrace[parent.TraceId] = hop = new Hop(parent, IsWorthOne(name, parent.TraceId, clock) ? Source.StartActivity(name, kind, parent) : null);
                    Activity.Current = null;
                }

                byContext[traceParent] = hop;
            }

            if (hop is not null)
            {
                hop.Entries++;
            }
        }

        Activity.Current = current;
        foreach (var hop in byTrace.Values)
        {
            hop.Span?.SetTag("yizhan.entries", hop.Entries);
        }

        return new Hops(name, kind, byTrace.Values);
    }

    private static bool IsWorthOne(string hop, ActivityTraceId trace, TimeProvider clock)
    {
        var now = clock.GetTimestamp();
        lock (Gate)
        {
            var (spans, last) = Counted.GetValueOrDefault((hop, trace));
            if (spans >= MaxPieces && clock.GetElapsedTime(last, now) < Slow)
            {
                return false;
            }

            if (Counted.Count >= MaxCounted)
            {
                Counted.Clear();
            }

            Counted[(hop, trace)] = (spans + 1, now);
            return true;
        }
    }

    /// <summary>One trace of a batch; without a span if enough of its batches had one.</summary>
    internal sealed class Hop(ActivityContext parent, Activity? span)
    {
        public ActivityContext Parent => parent;

        public Activity? Span => span;

        public int Entries { get; set; }
    }

    /// <summary>The spans of one batch.</summary>
    public readonly struct Hops : IDisposable
    {
        private readonly string _name;
        private readonly ActivityKind _kind;
        private readonly IReadOnlyCollection<Hop>? _hops;

        internal Hops(string name, ActivityKind kind, IReadOnlyCollection<Hop> hops) => (_name, _kind, _hops) = (name, kind, hops);

        /// <summary>Says that it did not work, in every trace of the batch; the words are for people and name no patient.</summary>
        public void Fail(string why)
        {
            var current = Activity.Current;
            foreach (var hop in _hops ?? [])
            {
                using var now = hop.Span is null ? Source.StartActivity(_name, _kind, hop.Parent) : null;
                (hop.Span ?? now)?.SetStatus(ActivityStatusCode.Error, why);
            }

            Activity.Current = current;
        }

        /// <summary>Ends them.</summary>
        public void Dispose()
        {
            var current = Activity.Current;
            foreach (var hop in _hops ?? [])
            {
                hop.Span?.Dispose();
            }

            Activity.Current = current;
        }
    }
}
