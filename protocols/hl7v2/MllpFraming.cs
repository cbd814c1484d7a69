using System.Buffers;

namespace Yizhan.Hl7v2;

/// <summary>
/// The minimal lower layer protocol on bytes: 0x0B, message, 0x1C 0x0D. Neither control byte occurs inside a character of UTF-8 or
/// GB 18030, so a frame can be found before anything is decoded, also where a read ended within a character.
/// </summary>
public static class MllpFraming
{
    private const byte StartBlock = 0x0B;
    private const byte EndBlock = 0x1C;
    private const byte CarriageReturn = 0x0D;

    /// <summary>
    /// Takes the next message from what has been received; what is before its start is skipped. The CR after the end block may be
    /// missing. A start block within a message is part of it: a sender that gave up has closed the connection.
    /// </summary>
    /// <param name="received">What has been received and not used; moved behind what is used up.</param>
    /// <param name="maxMessageBytes">Longer messages are refused before they are whole.</param>
    /// <param name="message">A view of the message.</param>
    /// <returns>False when the message is not whole yet.</returns>
    /// <exception cref="Hl7Exception">The message is too long; the connection cannot be used any more.</exception>
    public static bool TryRead(ref ReadOnlySequence<byte> received, int maxMessageBytes, out ReadOnlySequence<byte> message)
    {
        message = default;
        if (received.PositionOf(StartBlock) is not { } start)
        {
            received = received.Slice(received.End);
            return false;
        }

        received = received.Slice(start);
        var body = received.Slice(1);
        var end = body.PositionOf(EndBlock);
        var length = end is { } at ? body.Slice(0, at).Length : body.Length;
        if (length > maxMessageBytes)
        {
            throw new Hl7Exception(Hl7Error.ApplicationInternalError, $"A message of more than {maxMessageBytes} bytes is not accepted.");
        }

        if (end is not { } endBlock)
        {
            return false;
        }

        message = body.Slice(0, endBlock);
        received = body.Slice(body.GetPosition(1, endBlock));
        if (!received.IsEmpty && received.FirstSpan[0] == CarriageReturn)
        {
            received = received.Slice(1);
        }

        return true;
    }

    /// <summary>A message in its frame.</summary>
    public static byte[] Frame(ReadOnlySpan<byte> message)
    {
        var frame = new byte[message.Length + 3];
        frame[0] = StartBlock;
        message.CopyTo(frame.AsSpan(1));
        frame[^2] = EndBlock;
        frame[^1] = CarriageReturn;
        return frame;
    }
}
