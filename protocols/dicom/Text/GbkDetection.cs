using System.Text.Unicode;

namespace Yizhan.Dicom;

/// <summary>
/// Tells Chinese text in GBK from Latin-1 when the label does not: many modalities in China send GBK under ISO_IR 100 or
/// with no label at all.
/// </summary>
/// <remarks>
/// It is GBK if every byte above 7F starts or ends a pair that GBK assigns to a Chinese character or full-width sign, and
/// (1) pairs that end in an ASCII byte are no more than those that do not, since "ér" in "Jérôme" is such a pair;
/// (2) each run of pairs that touches an ASCII letter has at least two pairs of bytes above 7F, since accented letters
/// stand alone in words ("Müller", "Määttä") while Chinese does not; (3) one pair alone in all of the text is one of the
/// 3,755 frequent characters (GB 2312 level 1).
/// </remarks>
internal static class GbkDetection
{
    internal static bool IsUtf8(ReadOnlySpan<byte> value) => Utf8.IsValid(value);

    internal static bool IsGbk(ReadOnlySpan<byte> value)
    {
        var (pairs, weakPairs) = (0, 0);
        var areFrequent = true;
        for (var i = 0; i < value.Length;)
        {
            if (value[i] < 0x80)
            {
                i++;
                continue;
            }

            var start = i;
            var strongInRun = 0;
            for (; i < value.Length && value[i] >= 0x80; i += 2)
            {
                if (i + 1 == value.Length || !IsChinese(value[i], value[i + 1]))
                {
                    return false;
                }

                pairs++;
                var isStrong = value[i + 1] >= 0x80;
                strongInRun += isStrong ? 1 : 0;
                weakPairs += isStrong ? 0 : 1;
                areFrequent &= value[i] is >= 0xB0 and <= 0xD7 && value[i + 1] >= 0xA1;
            }

            var touchesLetter = (start > 0 && char.IsAsciiLetter((char)value[start - 1])) || (i < value.Length && char.IsAsciiLetter((char)value[i]));
            if (touchesLetter && strongInRun < 2)
            {
                return false;
            }
        }

        return weakPairs * 2 <= pairs && (pairs > 1 || (pairs == 1 && areFrequent));
    }

    private static bool IsChinese(byte lead, byte trail)
    {
        ReadOnlySpan<byte> pair = [lead, trail];
        Span<char> character = stackalloc char[2];
        return lead is >= 0x81 and <= 0xFE && trail is (>= 0x40 and <= 0x7E) or (>= 0x80 and <= 0xFE)
            && Repertoire.Gbk.Encoding.GetChars(pair, character) == 1
            && character[0] is (>= '\u4E00' and <= '\u9FFF') or (>= '\u3000' and <= '\u3017') or (>= '\uFF01' and <= '\uFF5E') or '\u00B7' or '\u2014' or '\u2026';
    }
}
