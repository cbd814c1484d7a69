namespace Yizhan.Contracts;

/// <summary>What a site's nodes logged as a warning or worse since the last such event, for whoever looks after the site from the centre. Lane telemetry. Event type <see cref="EventType"/>.</summary>
/// <param name="Lines">Equal lines are one with a count; the oldest first.</param>
/// <param name="Dropped">Lines that were more than the site may send in an hour; they are in its own log.</param>
public sealed record SiteLogged(IReadOnlyList<SiteLogLine> Lines, int Dropped)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.site.log.v1";

    /// <summary>Most lines of one event.</summary>
    public const int MaxLines = 200;

    /// <summary>Most characters of a line; the rest is cut off.</summary>
    public const int MaxText = 500;
}

/// <summary>A line of a site's log.</summary>
/// <param name="AtMs">When it was written, or was last, by the site's clock; Unix milliseconds UTC.</param>
/// <param name="Level"><c>warning</c>, <c>error</c> or <c>critical</c>.</param>
/// <param name="Id">The event's number, which runbooks name.</param>
/// <param name="Source">What wrote it.</param>
/// <param name="Text">What it says; of an exception only its type. Nothing of a patient: no log has that.</param>
/// <param name="Count">How often it was written.</param>
public sealed record SiteLogLine(long AtMs, string Level, int Id, string Source, string Text, int Count);

/// <summary>What the centre has of a site's log; the answer of <c>GET /fleet/sites/{site}/log</c>.</summary>
/// <param name="Lines">The newest first.</param>
/// <param name="Dropped">Lines that the site did not send in the last 24 hours, because there were too many.</param>
public sealed record SiteLogView(IReadOnlyList<SiteLogLine> Lines, long Dropped);
