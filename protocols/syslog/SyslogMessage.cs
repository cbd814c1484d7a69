using System.Globalization;
using System.Text;

namespace Yizhan.Syslog;

/// <summary>A syslog message (RFC 5424 §6). Structured data is skipped: audit messages have none.</summary>
/// <param name="Priority">Facility times 8 plus severity; 85 for audit (facility 10, severity 5).</param>
/// <param name="Timestamp">As it was sent; null for the nil value.</param>
/// <param name="Hostname">Null for the nil value, as all that follow.</param>
/// <param name="AppName">Sending program.</param>
/// <param name="ProcId">Its process.</param>
/// <param name="MsgId">Kind of message; <c>IHE+RFC-3881</c> for audit.</param>
/// <param name="Text">The message, without a byte order mark.</param>
public sealed record SyslogMessage(int Priority, string? Timestamp, string? Hostname, string? AppName, string? ProcId, string? MsgId, string Text)
{
    /// <summary>Facility 10 (security), severity 5 (notice): what IHE ATNA asks for.</summary>
    public const int AuditPriority = 85;

    /// <summary>MSGID of audit messages in either spelling (IHE ITI TF-2 §3.20).</summary>
    public const string AuditMsgId = "IHE+RFC-3881";

    private const int MaxPriority = 191;
    private const string Nil = "-";
    private static readonly UTF8Encoding StrictUtf8 = new(false, throwOnInvalidBytes: true);

    /// <summary>Reads a message.</summary>
    /// <exception cref="FormatException">Says which field is wrong.</exception>
    public static SyslogMessage Parse(ReadOnlySpan<byte> bytes)
    {
        string text;
        try
        {
            text = StrictUtf8.GetString(bytes);
        }
        catch (DecoderFallbackException)
        {
            throw new FormatException("The syslog message is not UTF-8.");
        }

        var close = text.IndexOf('>', StringComparison.Ordinal);
        if (close is < 2 or > 4 || text[0] != '<' || !int.TryParse(text.AsSpan(1, close - 1), NumberStyles.None, CultureInfo.InvariantCulture, out var priority) || priority > MaxPriority)
        {
            throw new FormatException("The syslog message has no priority such as <85>.");
        }

        var rest = text[(close + 1)..];
        if (Next(ref rest) is not "1")
        {
            throw new FormatException("The version of the syslog message is not 1 (RFC 5424).");
        }

        var (timestamp, hostname, appName, procId, msgId) = (Next(ref rest), Next(ref rest), Next(ref rest), Next(ref rest), Next(ref rest));
        SkipStructuredData(ref rest);
        return new SyslogMessage(priority, timestamp, hostname, appName, procId, msgId, rest.TrimStart('\uFEFF'));
    }

    /// <summary>The bytes, without a byte order mark (IHE CP-ITI-477).</summary>
    public byte[] ToBytes() => StrictUtf8.GetBytes(
        string.Create(CultureInfo.InvariantCulture, $"<{Priority}>1 {Timestamp ?? Nil} {Hostname ?? Nil} {AppName ?? Nil} {ProcId ?? Nil} {MsgId ?? Nil} {Nil} {Text}"));

    private static string? Next(ref string rest)
    {
        var space = rest.IndexOf(' ', StringComparison.Ordinal);
        if (space <= 0)
        {
            throw new FormatException("The header of the syslog message ends too early (RFC 5424 §6.2).");
        }

        var field = rest[..space];
        rest = rest[(space + 1)..];
        return field == Nil ? null : field;
    }

    private static void SkipStructuredData(ref string rest)
    {
        var at = 0;
        if (rest.StartsWith('-'))
        {
            at = 1;
        }
        else
        {
            while (at < rest.Length && rest[at] == '[')
            {
                at = EndOfElement(rest, at);
            }
        }

        if (at == 0 || (at < rest.Length && rest[at] != ' '))
        {
            throw new FormatException("The structured data of the syslog message is neither '-' nor in brackets (RFC 5424 §6.3).");
        }

        rest = at < rest.Length ? rest[(at + 1)..] : "";
    }

    private static int EndOfElement(string text, int at)
    {
        var quoted = false;
        for (at++; at < text.Length; at++)
        {
            switch (text[at])
            {
                case '\\' when quoted:
                    at++;
                    break;
                case '"':
                    quoted = !quoted;
                    break;
                case ']' when !quoted:
                    return at + 1;
            }
        }

        throw new FormatException("The structured data of the syslog message does not end (RFC 5424 §6.3).");
    }
}
