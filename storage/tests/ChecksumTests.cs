namespace Yizhan.Storage.Tests;

/// <summary>The checksum of everything on the disk: what three stripes at once give is what a byte at a time gives.</summary>
public sealed class ChecksumTests
{
    [Fact]
    public void It_is_the_crc_32c_of_the_standard() => Assert.Equal(0xE306_9283u, Record.Crc32C("123456789"u8));

    [Fact]
    public void Every_length_gives_what_a_bit_at_a_time_gives()
    {
        var bytes = new byte[10_000];
        new Random(7).NextBytes(bytes);
        foreach (var length in Enumerable.Range(0, 40).Concat(Enumerable.Range(1500, 80)).Concat([3071, 3072, 3073, 4608, 9999, 10_000]))
        {
            Assert.Equal(~Bitwise(bytes.AsSpan(0, length), 0xFFFF_FFFF), Record.Crc32C(bytes.AsSpan(0, length)));
            Assert.Equal(~Bitwise(bytes.AsSpan(0, length), 12345), Record.Crc32C(bytes.AsSpan(0, length), 12345));
        }
    }

    private static uint Bitwise(ReadOnlySpan<byte> bytes, uint crc)
    {
        foreach (var b in bytes)
        {
            crc ^= b;
            for (var bit = 0; bit < 8; bit++)
            {
                crc = (crc >> 1) ^ ((crc & 1) == 0 ? 0 : 0x82F6_3B78);
            }
        }

        return crc;
    }
}
