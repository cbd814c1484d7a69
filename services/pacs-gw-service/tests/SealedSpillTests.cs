using System.Text;
using Yizhan.PacsGw.DicomWeb;

namespace Yizhan.PacsGw.Tests;

/// <summary>Bulk values that wait on disk: read as they were written, and not to be read by anybody else.</summary>
public sealed class SealedSpillTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("yizhan-spill-");

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(64 * 1024)]
    [InlineData((64 * 1024) + 1)]
    [InlineData(500_000)]
    public async Task What_is_written_in_pieces_is_read_anywhere(int length)
    {
        using var spill = new SealedSpill(_folder.FullName);
        var random = new Random(7);
        var bytes = new byte[length];
        random.NextBytes(bytes);
        for (var at = 0; at < length;)
        {
            var count = Math.Min(random.Next(1, 100_000), length - at);
            await spill.WriteAsync(bytes.AsMemory(at, count), Gateway.Cancel);
            at += count;
        }

        Assert.Equal(length, spill.Length);
        for (var i = 0; i < 50; i++)
        {
            var from = random.Next(length + 1);
            var value = new byte[random.Next(length - from + 1)];
            spill.Read(from, value);
            Assert.True(bytes.AsSpan(from, value.Length).SequenceEqual(value), $"{value.Length} bytes from {from}");
        }

        Assert.Throws<ArgumentOutOfRangeException>(() => spill.Read(length, new byte[1]));
    }

    [Fact]
    public async Task The_file_has_no_name_does_not_say_what_is_in_it_and_is_not_read_once_changed()
    {
        using var spill = new SealedSpill(_folder.FullName);
        var secret = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat("Wang^XiaoDong ", 10_000)));
        await spill.WriteAsync(secret, Gateway.Cancel);
        spill.Read(0, new byte[secret.Length]);
        Assert.Empty(_folder.GetFiles());
        var handle = Directory.GetFiles("/proc/self/fd").Single(f => new FileInfo(f).LinkTarget?.StartsWith(_folder.FullName, StringComparison.Ordinal) == true);
        await using var file = new FileStream(handle, FileMode.Open, FileAccess.ReadWrite);
        var kept = new byte[file.Length];
        await file.ReadExactlyAsync(kept, Gateway.Cancel);
        Assert.True(kept.Length > secret.Length);
        Assert.DoesNotContain("XiaoDong", Encoding.Latin1.GetString(kept), StringComparison.Ordinal);

        file.Position = 100;
        file.WriteByte((byte)(kept[100] ^ 1));
        await file.FlushAsync(Gateway.Cancel);
        Assert.Throws<IOException>(() => spill.Read(0, new byte[1]));
        spill.Read(secret.Length - 1, new byte[1]);
    }

    public void Dispose() => _folder.Delete(recursive: true);
}
