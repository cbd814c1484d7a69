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

    /// <summary>Goes on with the traces of a batch: one span for each trace that it holds, all of which end together.</summary>
    /// <param name="name">What is done, such as <c>index</c>.</param>
    /// <param name="kind">Whether it is sent, taken or handled.</param>
    /// <param name="traceParents">Contexts of the batch's entries; nulls and what is no context are passed over.</param>
    public static Hops Continue(string name, ActivityKind kind, IEnumerable<string?> traceParents)
    {
        if (!Source.HasListeners())
        {
            return default;
        }

        // The work of a batch belongs to each of its traces, and not to whatever was going on when the loop was started.
        var current = Activity.Current;
        Activity.Current = null;
        var spans = new Dictionary<ActivityTraceId, (Activity? Span, int Entries)>();
        foreach (var traceParent in traceParents)
        {
            if (!ActivityContext.TryParse(traceParent, null, isRemote: true, out var parent))
            {
                continue;
            }

            if (spans.TryGetValue(parent.TraceId, out var known))
            {
                spans[parent.TraceId] = known with { Entries = known.Entries + 1 };
            }
            else if (spans.Count < MaxHops)
            {
                spans[parent.TraceId] = (Source.StartActivity(name, kind, parent), 1);
                Activity.Current = null;
            }
        }

        Activity.Current = current;
        foreach (var (span, entries) in spans.Values)
        {
            span?.SetTag("yizhan.entries", entries);
        }

        return new Hops([.. spans.Values.Select(s => s.Span).OfType<Activity>()]);
    }

    /// <summary>The spans of one batch.</summary>
    public readonly struct Hops(IReadOnlyList<Activity> spans) : IDisposable
    {
        /// <summary>Says that it did not work; the words are for people and name no patient.</summary>
        public void Fail(string why)
        {
            foreach (var span in spans ?? [])
            {
                span.SetStatus(ActivityStatusCode.Error, why);
            }
        }

        /// <summary>Ends them.</summary>
        public void Dispose()
        {
            var current = Activity.Current;
            foreach (var span in spans ?? [])
            {
                span.Dispose();
            }

            Activity.Current = current;
        }
    }
}
