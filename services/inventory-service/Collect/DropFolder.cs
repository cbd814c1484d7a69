using System.Security.Cryptography;
using System.Text.Unicode;

namespace Yizhan.Inventory.Collect;

/// <summary>A file that was dropped and is complete.</summary>
/// <param name="Path">Where it is.</param>
/// <param name="Digest">SHA-256, 64 lower-case hex digits: the same file again has the same names of batches.</param>
/// <param name="IsUtf8">All of it is valid UTF-8.</param>
/// <param name="ModifiedMs">When it was written last, Unix milliseconds UTC.</param>
internal sealed record DroppedFile(string Path, string Digest, bool IsUtf8, long ModifiedMs);

/// <summary>A folder into which others put files. What was taken goes to <c>done/</c>; what could not be stays, and its source has failed until somebody has looked.</summary>
internal sealed class DropFolder(TimeProvider clock)
{
    private const int MaxFiles = 1000;

    /// <summary>Files that have not changed for a while, the oldest first. Names that end with .part or .tmp, or begin with a dot, are not complete yet.</summary>
    /// <exception cref="DirectoryNotFoundException">There is no such folder.</exception>
    public IReadOnlyList<string> Settled(SourceOptions source, params IEnumerable<string> extensions)
    {
        var before = clock.GetUtcNow().UtcDateTime.AddSeconds(-source.SettleSeconds);
        return [.. new DirectoryInfo(source.Path!).EnumerateFiles()
            .Where(f => extensions.Contains(f.Extension, StringComparer.OrdinalIgnoreCase) && !f.Name.StartsWith('.') && f.LastWriteTimeUtc <= before)
            .OrderBy(f => f.LastWriteTimeUtc).ThenBy(f => f.Name, StringComparer.Ordinal).Take(MaxFiles).Select(f => f.FullName)];
    }

    /// <summary>Reads a file once: what it is, and whether its text is UTF-8.</summary>
    public static async Task<DroppedFile> InspectAsync(string path, CancellationToken cancellationToken)
    {
        using var sha = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        await using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1, FileOptions.SequentialScan);
        var buffer = new byte[1024 * 1024];
        var (kept, isUtf8) = (0, true);
        while (await stream.ReadAsync(buffer.AsMemory(kept), cancellationToken) is > 0 and var read)
        {
            sha.AppendData(buffer, kept, read);
            var all = kept + read;
            kept = 0;
            if (isUtf8)
            {
                // The last character of a block may go on in the next one.
                var whole = all;
                while (whole > 0 && all - whole < 3 && (buffer[whole - 1] & 0xC0) == 0x80)
                {
                    whole--;
                }

                whole = whole > 0 && buffer[whole - 1] >= 0xC0 ? whole - 1 : all;
                isUtf8 = Utf8.IsValid(buffer.AsSpan(0, whole));
                kept = all - whole;
                buffer.AsSpan(whole, kept).CopyTo(buffer);
            }
        }

        return new DroppedFile(
            path, Convert.ToHexStringLower(sha.GetHashAndReset()), isUtf8 && kept == 0, new DateTimeOffset(File.GetLastWriteTimeUtc(path), TimeSpan.Zero).ToUnixTimeMilliseconds());
    }

    /// <summary>Puts a file that is recorded out of the way.</summary>
    public static void Done(DroppedFile file)
    {
        var folder = Directory.CreateDirectory(Path.Combine(Path.GetDirectoryName(file.Path)!, "done")).FullName;
        File.Move(file.Path, Path.Combine(folder, $"{file.Digest[..12]}-{Path.GetFileName(file.Path)}"), overwrite: true);
    }
}
