using System.Buffers;
using System.Globalization;
using System.Text;

namespace Yizhan.Syslog;

/// <summary>Octet counting (RFC 5425 §4.3): <c>MSG-LEN SP SYSLOG-MSG</c>, one after the other.</summary>
public static class SyslogFrames
{
    private const int MaxLengthDigits = 9;

    /// <summary>Cuts the next message off the front of a buffer.</summary>
    /// <param name="buffer">What has arrived; without the message afterwards.</param>
    /// <param name="maxBytes">Largest message that is accepted.</param>
    /// <param name="message">The message, when it is whole.</param>
    /// <returns>False when more bytes are needed.</returns>
    /// <exception cref="FormatException">There is no length, or it is 0 or above the bound: the stream cannot be read any further.</exception>
    public static bool TryRead(ref ReadOnlySequence<byte> buffer, int maxBytes, out ReadOnlySequence<byte> message)
    {
        message = default;
        var reader = new SequenceReader<byte>(buffer);
        long length = 0;
        var digits = 0;
        while (true)
        {
            if (!reader.TryRead(out var octet))
            {
                return false;
            }

            if (octet == (byte)' ' && digits > 0)
            {
                break;
            }

            if (octet is < (byte)'0' or > (byte)'9' || (octet == (byte)'0' && digits == 0) || ++digits > MaxLengthDigits)
            {
                throw new FormatException($"A syslog frame begins with its length in 1 to {MaxLengthDigits} digits and a space, not with octet 0x{octet:x2} at place {digits}.");
            }

            length = (length * 10) + (octet - '0');
        }

        if (length > maxBytes)
        {
            throw new FormatException($"A syslog message of {length} bytes was announced; accepted are up to {maxBytes}.");
        }

        if (reader.Remaining < length)
        {
            return false;
        }

        message = buffer.Slice(reader.Position, length);
        buffer = buffer.Slice(message.End);
        return true;
    }

    /// <summary>A message in its frame.</summary>
    public static byte[] Frame(ReadOnlySpan<byte> message) =>
        [.. Encoding.ASCII.GetBytes(message.Length.ToString(CultureInfo.InvariantCulture)), (byte)' ', .. message];
}
