namespace Yizhan.Contracts;

/// <summary>
/// What is read in place of an entry whose key was destroyed on purpose: the node's log gives it to readers, and sends it to the centre if the entry
/// was not there yet.
/// </summary>
/// <param name="Type">CloudEvents type of the entry.</param>
/// <param name="Day">The day whose key it was sealed with, UTC: <c>2026-05-04</c>.</param>
public sealed record EntryShredded(string Type, string Day)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.log.entry-shredded.v1";
}
