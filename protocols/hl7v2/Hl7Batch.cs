namespace Yizhan.Hl7v2;

/// <summary>A file or batch of messages (HL7 v2.5.1 §2.10.3): FHS, BHS, messages, BTS, FTS; the envelopes may be missing.</summary>
public static class Hl7Batch
{
    /// <summary>Takes a text apart into messages. Comment before the first message or envelope is skipped.</summary>
    /// <exception cref="Hl7Exception">There is no message, or BTS-1 counts another number of them.</exception>
    public static IReadOnlyList<string> Messages(string text)
    {
        var messages = new List<string>();
        var declared = 0;
        var inBatch = 0;
        int? start = null;
        for (var line = 0; line < text.Length; line = Next(text, line))
        {
            var rest = text.AsSpan(line);
            var begins = rest.StartsWith("MSH");
            if (start is { } from && (begins || IsEnvelope(rest)))
            {
                messages.Add(text[from..line]);
                inBatch++;
                start = null;
            }

            if (begins)
            {
                start = line;
            }
            else if (rest.StartsWith("BHS"))
            {
                inBatch = 0;
            }
            else if (rest.StartsWith("BTS"))
            {
                var fields = text[line..Next(text, line)].TrimEnd('\r', '\n').Split(rest.Length > 3 ? rest[3] : '|');
                if (fields.Length > 1 && int.TryParse(fields[1], out declared) && declared != inBatch)
                {
                    throw new Hl7Exception(Hl7Error.SegmentSequence, $"BTS-1 counts {declared} messages, but the batch holds {inBatch}.", "BTS-1");
                }
            }
        }

        if (start is { } last)
        {
            messages.Add(text[last..]);
        }

        return messages.Count > 0 ? messages : throw new Hl7Exception(Hl7Error.SegmentSequence, "There is no message: no line begins with MSH.", "MSH");
    }

    private static bool IsEnvelope(ReadOnlySpan<char> line) => line.StartsWith("FHS") || line.StartsWith("BHS") || line.StartsWith("BTS") || line.StartsWith("FTS");

    private static int Next(string text, int line)
    {
        var end = text.AsSpan(line).IndexOfAny('\r', '\n');
        return end < 0 ? text.Length : line + end + 1;
    }
}
