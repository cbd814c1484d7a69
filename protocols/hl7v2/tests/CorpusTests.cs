using System.Buffers;
using System.Text;
using System.Text.Json;

namespace Yizhan.Hl7v2.Tests;

public sealed class CorpusTests
{
    // What is refused, and the words that its reason must hold. Everything else is read, and written again bit for bit.
    private static readonly (string Name, string Reason)[] Refused =
    [
        ("EncodingNotSupportedException_aoor1", "begins with the segment MSH"),
        ("HL7Exception_hang1", "Segment 2, at character 21"),
        ("LegacyPipeParser_HL7Exception_sys1", "'0' as a delimiter"),
        ("NoException_regex1", "U+0001 as a delimiter"),
        ("EncodingNotSupportedException_id_000014", "begins with the segment MSH"),
        ("HL7Exception_id_000001", "'0' as a delimiter"),
        ("HL7Exception_id_000042", "'0' as a delimiter"),
        ("HL7Exception_id_000064", "MSH-2 has 0 characters"),
        ("HL7Exception_id_000092", "Segment 3, at character 100"),
        ("HL7Exception_id_000118", "neither UTF-8 nor GB 18030"),
        ("HL7Exception_id_000123", "U+0020 as a delimiter"),
        ("HL7Exception_id_000149", "'0' as a delimiter"),
        ("HL7Exception_id_000160", "'0' as a delimiter"),
        ("HL7Exception_id_000176", "'0' as a delimiter"),
        ("PipeParser_HL7Exception_so", "'0' as a delimiter"),
        ("NoException_id_000109", "Segment 2, at character 38"),
        ("NoException_id_000168", "neither UTF-8 nor GB 18030"),
        (".xml", "This is XML"),
        ("uuencoded.txt", "begins with the segment MSH"),
    ];

    public static TheoryData<string> Names() => Corpus.Names.Any() ? new(Corpus.Names) : new("hl7v2/ADT-A01-01.hl7");

    [Theory]
    [MemberData(nameof(Names))]
    [Trait("Clause", "S5")]
    public void Every_message_is_read_and_written_bit_for_bit_or_refused_with_the_reason(string name)
    {
        var bytes = Corpus.Read(name);
        if (ReasonFor(name) is { } reason)
        {
            Assert.Contains(reason, Assert.Throws<Hl7Exception>(() => Read(bytes)).Message, StringComparison.Ordinal);
            return;
        }

        Read(bytes);
    }

    public static TheoryData<string> Readable() =>
        Corpus.Names.Any() ? new(Corpus.Names.Where(name => ReasonFor(name) is null && !name.EndsWith("messages.txt", StringComparison.Ordinal))) : Names();

    [Theory]
    [MemberData(nameof(Readable))]
    public void Changing_one_field_leaves_every_other_byte_alone(string name)
    {
        var bytes = Corpus.Read(name);
        var message = Hl7Message.Parse(bytes);
        var changed = message.With("MSH-10", "OTHER");
        Assert.Equal("OTHER", changed.ControlId);
        Assert.Equal(message.SegmentCount, changed.SegmentCount);
        Assert.Equal(message.Segments.Skip(1).Select(s => s.Raw.ToString()), changed.Segments.Skip(1).Select(s => s.Raw.ToString()));
        if (message.ControlId.Length > 0)
        {
            Assert.Equal(bytes, changed.With("MSH-10", message.ControlId).ToBytes());
        }
    }

    [Fact]
    public void Frames_are_found_however_the_bytes_arrive()
    {
        using var cases = JsonDocument.Parse(Corpus.Read("mllp/frames.json"));
        foreach (var frames in cases.RootElement.EnumerateArray())
        {
            var chunks = frames.GetProperty("chunks_b64").EnumerateArray().Select(c => c.GetBytesFromBase64()).ToList();
            var found = ReadFrames(chunks);
            Assert.Equal(frames.GetProperty("messages").GetInt32(), found.Count);
            Assert.Equal<IEnumerable<byte[]>>(found, ReadFrames([.. chunks.SelectMany(c => c).Select(b => new[] { b })]));
            var messages = found.Select(f => Hl7Message.Parse(f)).ToList();
            Assert.All(messages.Zip(found), pair => Assert.Equal(pair.Second, pair.First.ToBytes()));
            Assert.All(messages, m => Assert.Equal("ORM", m.Type));
            if (frames.TryGetProperty("pid5", out var name))
            {
                Assert.Equal(name.GetString(), messages[0].At(Hl7Path.Parse("PID-5")).Raw.ToString());
                Assert.Equal<IEnumerable<string>>(name.GetString()!.Split('^'), [messages[0]["PID-5.1"], messages[0]["PID-5.2"]]);
            }
        }
    }

    private static string? ReasonFor(string name) =>
        Refused.Where(r => name.Contains(r.Name, StringComparison.Ordinal) && !name.Contains("stackoverflow", StringComparison.Ordinal)).Select(r => r.Reason).FirstOrDefault();

    private static void Read(byte[] bytes)
    {
        var text = Encoding.UTF8.GetString(bytes);
        if (text.StartsWith("/*", StringComparison.Ordinal))
        {
            var messages = Hl7Batch.Messages(text);
            Assert.EndsWith(string.Concat(messages), text, StringComparison.Ordinal);

            // Whoever printed these 18 wrapped the long lines of 11: what the wrap begins with is no segment.
            Assert.Equal(18, messages.Count);
            Assert.Equal(7, messages.Count(m => !m.Split('\n').Any(line => line.Length > 0 && (line.Length < 4 || line[3] != '|'))));
            foreach (var one in messages.Where(m => m.Split('\n').All(line => line.Length == 0 || (line.Length > 3 && line[3] == '|'))))
            {
                Assert.Equal(one, Hl7Message.Parse(one).ToString());
            }

            return;
        }

        var message = Hl7Message.Parse(bytes);
        Assert.Equal(bytes, message.ToBytes());
        foreach (var segment in message.Segments)
        {
            for (var field = 1; field <= segment.FieldCount; field++)
            {
                var value = segment.Field(field);
                var parts = Enumerable.Range(1, value.RepetitionCount)
                    .Select(r => value.Repetition(r))
                    .Select(r => string.Join(message.Delimiters.Component, Enumerable.Range(1, r.ComponentCount).Select(c => r.Component(c).Raw.ToString())));
                Assert.Equal(value.Raw.ToString(), string.Join(message.Delimiters.Repetition, parts));
            }
        }
    }

    private static List<byte[]> ReadFrames(IReadOnlyList<byte[]> chunks)
    {
        var found = new List<byte[]>();
        var received = ReadOnlySequence<byte>.Empty;
        foreach (var chunk in chunks)
        {
            received = new ReadOnlySequence<byte>([.. received.ToArray(), .. chunk]);
            while (MllpFraming.TryRead(ref received, 1 << 20, out var message))
            {
                found.Add(message.ToArray());
            }
        }

        return found;
    }
}
