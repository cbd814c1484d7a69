using System.Buffers;
using System.Text;
using CsCheck;

namespace Yizhan.Hl7v2.Tests;

public sealed class MessageTests
{
    private const string Order = "MSH|^~\\&|EMR|H1^1.2.3^ISO|RIS|H2|20261122200000+0800||ORM^O01^ORM_O01|A5|P|2.5|||AL|NE|CHN|UNICODE UTF-8\r"
        + "PID|1||GAN2001^^^EMR&1.2.3&ISO^MR~110101^^^CN^NI||张^三||19800201|M\rOBX|1|TX|A||one\\.br\\two\\F\\\rOBX|2|TX|B||\"\"\rZDS|1.2.3^^Application^DICOM|x~y\r";

    private static readonly DateTimeOffset Time = new(2026, 11, 22, 20, 0, 5, TimeSpan.FromHours(8));

    [Theory]
    [InlineData("MSH-1", "|")]
    [InlineData("MSH-2", "^~\\&")]
    [InlineData("MSH-9.3", "ORM_O01")]
    [InlineData("MSH-18", "UNICODE UTF-8")]
    [InlineData("PID-3", "GAN2001^^^EMR&1.2.3&ISO^MR~110101^^^CN^NI")]
    [InlineData("PID-3.1", "GAN2001")]
    [InlineData("PID-3[2].5", "NI")]
    [InlineData("PID-3.4.2", "1.2.3")]
    [InlineData("PID-5.2", "三")]
    [InlineData("OBX[1]-5", "one\ntwo|")]
    [InlineData("OBX[2]-5", "")]
    [InlineData("OBX[3]-5", "")]
    [InlineData("PID-30.2", "")]
    [InlineData("ZDS-2[2]", "y")]
    public void A_path_names_a_place(string path, string expected) => Assert.Equal(expected, Hl7Message.Parse(Order)[path]);

    [Theory]
    [InlineData("PID")]
    [InlineData("PID-")]
    [InlineData("PID-0")]
    [InlineData("pid-3")]
    [InlineData("PID-3.1.2.3")]
    [InlineData("PID-3[")]
    [InlineData("PID-10000")]
    [InlineData("PID5-1")]
    public void What_is_no_path_is_refused_by_name(string path) =>
        Assert.Contains($"'{path}'", Assert.Throws<FormatException>(() => Hl7Message.Parse(Order)[path]).Message, StringComparison.Ordinal);

    [Fact]
    public void The_delimiters_are_not_taken_apart_by_themselves()
    {
        var message = Hl7Message.Parse(Order);
        Assert.Equal(1, message.At(Hl7Path.Parse("MSH-2")).RepetitionCount);
        Assert.Equal("^~\\&", message["MSH-2.1"]);
    }

    [Fact]
    public void Null_and_empty_are_not_the_same()
    {
        var message = Hl7Message.Parse(Order);
        Assert.True(message.At(Hl7Path.Parse("OBX[2]-5")).IsNull);
        Assert.False(message.At(Hl7Path.Parse("OBX[2]-5")).IsEmpty);
        Assert.True(message.At(Hl7Path.Parse("OBX[2]-6")).IsEmpty);
        Assert.False(message.At(Hl7Path.Parse("OBX[2]-6")).IsNull);
    }

    [Theory]
    [InlineData("PID-5.2", "四", "||张^四||")]
    [InlineData("PID-3[3].1", "X", "~110101^^^CN^NI~X||")]
    [InlineData("PID-3.4.2", "9", "EMR&9&ISO^MR~")]
    [InlineData("PID-12.3", "A|B^C\\D", "|M||||^^A\\F\\B\\S\\C\\E\\D\r")]
    [InlineData("MSH-5", "OTHER", "|OTHER|H2|")]
    public void A_place_can_be_written(string path, string value, string expected)
    {
        var changed = Hl7Message.Parse(Order).With(path, value);
        Assert.Contains(expected, changed.ToString(), StringComparison.Ordinal);
        Assert.Equal(value, changed[path]);
    }

    [Fact]
    public void The_delimiters_and_what_is_not_there_cannot_be_written()
    {
        Assert.Contains("MSH-2", Assert.Throws<Hl7Exception>(() => Hl7Message.Parse(Order).With("MSH-2", "x")).Message, StringComparison.Ordinal);
        Assert.Contains("no OBR", Assert.Throws<Hl7Exception>(() => Hl7Message.Parse(Order).With("OBR-1", "x")).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("a\\F\\b", "a|b")]
    [InlineData("a\\S\\\\T\\\\R\\\\E\\", "a^&~\\")]
    [InlineData("a\\X0D0A\\b", "a\r\nb")]
    [InlineData("C:\\dir\\file\\F\\", "C:\\dir\\file|")]
    [InlineData("\\dir\\F\\", "\\dir|")]
    [InlineData("lone \\ one", "lone \\ one")]
    [InlineData("end\\", "end\\")]
    [InlineData("\\XZZ\\", "\\XZZ\\")]
    [InlineData("\\XC4E3\\", "\\XC4E3\\")]
    [InlineData("\\H\\bold\\N\\", "\\H\\bold\\N\\")]
    public void Escapes_are_resolved_and_what_is_none_stays(string raw, string expected) =>
        Assert.Equal(expected, Hl7Message.Parse($"MSH|^~\\&|{raw}\r")["MSH-3"]);

    [Fact]
    public void Any_text_comes_back_through_any_delimiters() =>
        Gen.Select(Gen.String[Gen.Char.Where(c => c != '\0' && !char.IsSurrogate(c)), 0, 40], Gen.OneOf(Gen.Const("|^~\\&"), Gen.Const("$!?/%"), Gen.Const("*^~\\&#"))).Sample((text, set) =>
        {
            // Two quotes alone mean null; a byte-order mark is nothing special inside.
            if (text == "\"\"")
            {
                return;
            }

            var message = Hl7Message.Parse($"MSH{set[0]}{set[1..]}{set[0]}A\rPID{set[0]}1\r").With("PID-5[2].3.2", text).With("PID-7", "after");
            Assert.Equal(text, message["PID-5[2].3.2"]);
            Assert.Equal("after", Hl7Message.Parse(message.ToBytes())["PID-7"]);
            Assert.Equal(2, message.SegmentCount);
        });

    [Fact]
    public void Random_bytes_are_read_bit_for_bit_or_refused() =>
        Gen.Select(Gen.OneOf(Gen.Const(""), Gen.Const("MSH|^~\\&|"), Gen.Const(Order)), Gen.Byte.Array[0, 200]).Sample((start, bytes) =>
        {
            byte[] all = [.. Encoding.UTF8.GetBytes(start), .. bytes];
            try
            {
                Assert.Equal(all, Hl7Message.Parse(all).ToBytes());
            }
            catch (Hl7Exception e)
            {
                Assert.NotEmpty(e.Message);
            }
        });

    [Theory]
    [InlineData("UNICODE UTF-8", 65001)]
    [InlineData("UTF-8", 65001)]
    [InlineData("GB 18030-2000", 54936)]
    [InlineData("GB18030", 54936)]
    [InlineData("8859/1", 28591)]
    [InlineData("BIG-5", 950)]
    public void The_character_set_of_MSH_18_is_used_both_ways(string name, int codePage)
    {
        var encoding = CodePagesEncodingProvider.Instance.GetEncoding(codePage) ?? Encoding.GetEncoding(codePage);
        var text = codePage == 28591 ? "Müller" : "張三";
        var bytes = encoding.GetBytes($"MSH|^~\\&|{text}||||||ADT^A01|1|P|2.5||||||{name}\rPID|||||{text}\r");
        var message = Hl7Message.Parse(bytes);
        Assert.Equal(text, message["PID-5"]);
        Assert.Equal(text, message["MSH-3"]);
        Assert.Equal(bytes, message.ToBytes());
    }

    [Fact]
    public void A_header_whose_facility_hides_a_separator_in_GB_18030_is_still_read()
    {
        // The second byte of both characters is '|', so by bytes MSH-18 would be two fields further.
        var bytes = Hl7CharacterSet.Gb18030.Encode("MSH|^~\\&|亅倈||||||ADT^A01|1|P|2.5||||||GB 18030-2000\rPID|||||亅^倈\r");
        var message = Hl7Message.Parse(bytes);
        Assert.Equal("亅倈", message["MSH-3"]);
        Assert.Equal("倈", message["PID-5.2"]);
        var misled = Hl7CharacterSet.Gb18030.Encode("MSH|^~\\&|亅||||||ADT^A01|1|P|2.5|||||BIG-5|GB 18030-2000\rPID|||||亅\r");
        Assert.Equal("亅", Hl7Message.Parse(misled)["PID-5"]);
    }

    [Fact]
    public void Without_MSH_18_bytes_are_UTF_8_or_GB_18030()
    {
        const string Text = "MSH|^~\\&|A||||||ADT^A01|1|P|2.5\rPID|||||张^三\r";
        Assert.Equal("张", Hl7Message.Parse(Encoding.UTF8.GetBytes(Text))["PID-5.1"]);
        Assert.Equal("张", Hl7Message.Parse(Hl7CharacterSet.Gb18030.Encode(Text))["PID-5.1"]);
    }

    [Fact]
    public void A_character_set_that_is_unknown_or_not_kept_is_refused()
    {
        var unknown = Assert.Throws<Hl7Exception>(() => Hl7Message.Parse("MSH|^~\\&|||||||ADT^A01|1|P|2.5||||||KLINGON\rPID|||||é\r"u8));
        Assert.Contains("'KLINGON'", unknown.Message, StringComparison.Ordinal);
        Assert.Equal("MSH-18", unknown.Location);
        var broken = Assert.Throws<Hl7Exception>(() => Hl7Message.Parse([.. "MSH|^~\\&|||||||ADT^A01|1|P|2.5||||||UNICODE UTF-8\rPID|||||"u8, 0xD5, 0xD4]));
        Assert.Contains("UNICODE UTF-8", broken.Message, StringComparison.Ordinal);
        var ascii = Hl7Message.Parse("MSH|^~\\&|||||||ADT^A01|1|P|2.5||||||KLINGON\rPID|1\r"u8);
        Assert.Throws<Hl7Exception>(() => ascii.With("PID-5", "é").ToBytes());
        var redundant = Assert.Throws<Hl7Exception>(() => Hl7Message.Parse("MSH|^~\\&|||||||ADT^A01|1|P|2.5||||||ISO IR87\rPID|||||\e(B\e(BA\r"u8));
        Assert.Contains("ISO IR87", redundant.Message, StringComparison.Ordinal);
        var unwritable = Assert.Throws<Hl7Exception>(() => Hl7Message.Parse("MSH|^~\\&|||||||ADT^A01|1|P|2.5||||||8859/1\rPID|1\r"u8).With("PID-5", "张").ToBytes());
        Assert.Contains("U+5F20", unwritable.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Only_CR_ends_a_segment_where_there_is_one()
    {
        var message = Hl7Message.Parse("MSH|^~\\&|A\r\nOBX|1|TX|||one\nPID|two\r\rOBX|2\r");
        Assert.Equal(["MSH", "OBX", "OBX"], message.Segments.Select(s => s.Name));
        Assert.Equal("one\nPID", message["OBX-5"]);
        Assert.Equal(2, Hl7Message.Parse("MSH|^~\\&|A\nOBX|1\n").SegmentCount);
    }

    [Theory]
    [InlineData("", "begins with the segment MSH")]
    [InlineData("PID|1\r", "begins with the segment MSH")]
    [InlineData("<?xml version=\"1.0\"?><ACK/>", "XML")]
    [InlineData("MSH|", "MSH-1")]
    [InlineData("MSHA^~\\&A", "MSH-1")]
    [InlineData("MSH|0000|A", "'0'")]
    [InlineData("MSH|^^~&|A", "'^'")]
    [InlineData("MSH|^~\\&#!|A", "6 characters")]
    [InlineData("MSH|^~\\&|A\rP1\r", "Segment 2")]
    [InlineData("MSH|^~\\&|A\rPID^1\r", "Segment 2, at character 11")]
    public void What_is_no_message_is_refused_with_the_reason(string text, string reason) =>
        Assert.Contains(reason, Assert.Throws<Hl7Exception>(() => Hl7Message.Parse(text)).Message, StringComparison.Ordinal);

    [Fact]
    public void A_sender_that_never_escapes_is_understood()
    {
        var message = Hl7Message.Parse("MSH|^~&|A||||||ADT^A01|1|P|2.3\rPID|||1^^^A&B&ISO\r");
        Assert.Equal("B", message["PID-3.4.2"]);
        Assert.Throws<Hl7Exception>(() => message.With("PID-5", "a|b"));
        Assert.Equal("AA", Hl7Acknowledgment.To(message, AcknowledgmentCode.AA, "R1", Time)["MSA-1"]);
    }

    [Fact]
    public void An_answer_goes_back_to_the_sender_and_names_the_message()
    {
        var answer = Hl7Acknowledgment.To(Hl7Message.Parse(Order), AcknowledgmentCode.AE, "R1", Time, new Hl7Exception(Hl7Error.UnknownKeyIdentifier, "No such patient.", "PID-3.1"));
        Assert.Equal(
            "MSH|^~\\&|RIS|H2|EMR|H1^1.2.3^ISO|20261122200005+0800||ACK^O01^ACK|R1|P|2.5||||||UNICODE UTF-8\r"
            + "MSA|AE|A5|No such patient.\rERR||PID^1^3^^1|204^Unknown key identifier^HL70357|E||||No such patient.\r",
            answer.ToString());
        Assert.Equal((AcknowledgmentCode.AE, "A5", "No such patient."), Hl7Acknowledgment.Read(answer));
        Assert.Null(Hl7Acknowledgment.Read(Hl7Message.Parse(Order)));
        Assert.Null(Hl7Acknowledgment.Read(Hl7Message.Parse("MSH|^~\\&|\rMSA|7|1\r")));
    }

    [Fact]
    public void An_answer_is_in_the_character_set_of_the_message()
    {
        var message = Hl7Message.Parse(Hl7CharacterSet.Gb18030.Encode("MSH|^~\\&|医院||||||ADT^A01|1|P|2.5||||||GB18030\r"));
        var answer = Hl7Acknowledgment.To(message, AcknowledgmentCode.AA, "R1", Time);
        Assert.Equal("GB 18030-2000", answer["MSH-18"]);
        Assert.Equal("医院", Hl7Message.Parse(answer.ToBytes())["MSH-5"]);
    }

    [Fact]
    public void A_message_is_built_segment_by_segment()
    {
        var message = new Hl7Builder(["ORU", "R01", "ORU_R01"], "C1", Time, "2.5.1", Hl7CharacterSet.Utf8)
            .Set(3, "YIZHAN").Segment("PID").Set(1, "1").Repeat(3, "P1", "", "", "EMR", "MR").Repeat(3, "I1", "", "", "CN", "NI").Set(5, "张", "三", "")
            .Segment("OBX").Set(5, "a|b\r\nc").Build();
        Assert.Equal(
            "MSH|^~\\&|YIZHAN||||20261122200005+0800||ORU^R01^ORU_R01|C1|P|2.5.1||||||UNICODE UTF-8\r"
            + "PID|1||P1^^^EMR^MR~I1^^^CN^NI||张^三\rOBX|||||a\\F\\b\\X0D\\\\X0A\\c\r",
            message.ToString());
        Assert.Equal("a|b\r\nc", message["OBX-5"]);
    }

    [Fact]
    public void A_batch_is_taken_apart_and_its_count_is_checked()
    {
        const string Batch = "FHS|^~\\&|A\rBHS|^~\\&|A\rMSH|^~\\&|1\rPID|1\rMSH|^~\\&|2\rBTS|2\rFTS|1\r";
        Assert.Equal(["MSH|^~\\&|1\rPID|1\r", "MSH|^~\\&|2\r"], Hl7Batch.Messages(Batch));
        Assert.Contains("counts 3", Assert.Throws<Hl7Exception>(() => Hl7Batch.Messages(Batch.Replace("BTS|2", "BTS|3", StringComparison.Ordinal))).Message, StringComparison.Ordinal);
        Assert.Throws<Hl7Exception>(() => Hl7Batch.Messages("nothing\r"));
    }

    [Fact]
    public void A_frame_that_is_too_long_is_refused_before_it_is_whole()
    {
        var received = new ReadOnlySequence<byte>([0x0B, .. new byte[101]]);
        Assert.Throws<Hl7Exception>(() => MllpFraming.TryRead(ref received, 100, out _));
        var whole = new ReadOnlySequence<byte>(MllpFraming.Frame(new byte[100]));
        Assert.True(MllpFraming.TryRead(ref whole, 100, out var message));
        Assert.Equal(100, message.Length);
        Assert.True(whole.IsEmpty);
    }

    [Theory]
    [InlineData("2026", "2026-01-01T00:00:00+08:00")]
    [InlineData("202611222000", "2026-11-22T20:00:00+08:00")]
    [InlineData("20261122200005.25-0500", "2026-11-22T20:00:05.25-05:00")]
    public void Times_are_read_in_the_sender_s_offset(string text, string expected)
    {
        Assert.True(Hl7Time.TryParse(text, TimeSpan.FromHours(8), out var time));
        Assert.Equal(DateTimeOffset.Parse(expected, System.Globalization.CultureInfo.InvariantCulture), time);
        Assert.Equal(DateTimeOffset.Parse(expected, System.Globalization.CultureInfo.InvariantCulture).Offset, time.Offset);
    }

    [Theory]
    [InlineData("")]
    [InlineData("20261322")]
    [InlineData("2026112")]
    [InlineData("202611222000+08")]
    [InlineData("202611222000+2500")]
    [InlineData("20261122200.5")]
    [InlineData("99991231+0000")]
    public void What_is_no_time_is_not_read_as_one(string text) => Assert.False(Hl7Time.TryParse(text, TimeSpan.Zero, out _));
}
