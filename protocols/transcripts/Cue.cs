using System.Globalization;
using System.Text;

namespace Yizhan.Transcripts;

/// <summary>A piece of a transcript with its time.</summary>
/// <param name="StartMs">When it begins, in milliseconds of the recording.</param>
/// <param name="EndMs">When it ends.</param>
/// <param name="Text">What is said.</param>
/// <param name="Speaker">Number of who says it; null when that is not known.</param>
public sealed record Cue(long StartMs, long EndMs, string Text, int? Speaker = null)
{
    /// <summary>WebVTT (W3C).</summary>
    public static string ToWebVtt(IEnumerable<Cue> cues)
    {
        var text = new StringBuilder("WEBVTT\n");
        foreach (var cue in cues)
        {
            // "-->" ends the text of a cue, "<" begins a tag, "&" an entity (WebVTT §3.4).
            var escaped = OneLine(cue.Text).Replace("&", "&amp;", StringComparison.Ordinal).Replace("<", "&lt;", StringComparison.Ordinal).Replace(">", "&gt;", StringComparison.Ordinal);
            text.Append(CultureInfo.InvariantCulture, $"\n{Time(cue.StartMs, '.')} --> {Time(cue.EndMs, '.')}\n{(cue.Speaker is { } speaker ? $"<v {speaker}>" : "")}{escaped}\n");
        }

        return text.ToString();
    }

    /// <summary>SubRip.</summary>
    public static string ToSubRip(IEnumerable<Cue> cues)
    {
        var (text, number) = (new StringBuilder(), 0);
        foreach (var cue in cues)
        {
            text.Append(CultureInfo.InvariantCulture, $"{++number}\n{Time(cue.StartMs, ',')} --> {Time(cue.EndMs, ',')}\n{(cue.Speaker is { } speaker ? $"{speaker}: " : "")}{OneLine(cue.Text).Replace("-->", "->", StringComparison.Ordinal)}\n\n");
        }

        return text.ToString();
    }

    private static string Time(long ms, char point) =>
        string.Create(CultureInfo.InvariantCulture, $"{ms / 3_600_000:00}:{ms / 60_000 % 60:00}:{ms / 1000 % 60:00}{point}{ms % 1000:000}");

    private static string OneLine(string text) => string.Concat(text.Select(c => char.IsControl(c) ? ' ' : c));
}
