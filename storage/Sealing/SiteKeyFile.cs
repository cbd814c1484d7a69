using System.Security.Cryptography;
using System.Text;

namespace Yizhan.Storage;

/// <summary>A site key in a file that only its owner may read: one line, <c>yizhan-site-key-1</c> and 64 hex digits.</summary>
internal sealed class SiteKeyFile : ISiteKey
{
    private const string Begin = "yizhan-site-key-1 ";
    private const int KeyBytes = 32;
    private const UnixFileMode Others =
        UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.OtherExecute;

    private readonly byte[] _key;

    public SiteKeyFile(byte[] key)
    {
        _key = key;
        Id = Convert.ToHexStringLower(SHA256.HashData([.. "yizhan site key"u8, .. key]).AsSpan(0, 8));
    }

    public string Id { get; }

    /// <summary>Reads the key.</summary>
    /// <param name="path">The file.</param>
    /// <param name="create">Make a new key when there is no file. False when something is wrapped already, which a new key could not open.</param>
    /// <exception cref="InvalidOperationException">The file is missing, is no key, or others may read it.</exception>
    public static SiteKeyFile Open(string path, bool create)
    {
        if (!File.Exists(path))
        {
            if (!create)
            {
                throw new InvalidOperationException(
                    $"The site key {path} is missing, and what is stored can be read with it only: put it back (it may be in a backup or in the safe), or name it in storage:siteKeyFile.");
            }

            var line = Begin + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(KeyBytes)) + "\n";
            var folder = Path.GetDirectoryName(Path.GetFullPath(path))!;
            Directory.CreateDirectory(folder);
            DurableFile.FlushFolder(Path.GetDirectoryName(folder) ?? folder);
            DurableFile.Write(path, Encoding.ASCII.GetBytes(line), secret: true);
        }

        if (!OperatingSystem.IsWindows() && (File.GetUnixFileMode(path) & Others) != 0)
        {
            throw new InvalidOperationException($"Others may read the site key {path}: chmod 600 {path}.");
        }

        var text = File.ReadAllText(path).TrimEnd();
        var key = new byte[KeyBytes];
        return text.StartsWith(Begin, StringComparison.Ordinal) && text.Length == Begin.Length + (2 * KeyBytes)
            && Convert.FromHexString(text.AsSpan(Begin.Length), key, out _, out var written) == System.Buffers.OperationStatus.Done && written == KeyBytes
            ? new SiteKeyFile(key)
            : throw new InvalidOperationException($"{path} is no site key: a line '{Begin}' with {2 * KeyBytes} hex digits is expected.");
    }

    /// <summary>True of a file that looks like a site key, whatever its name: such a file never leaves its machine with others.</summary>
    public static bool Is(string path)
    {
        try
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            var begin = new byte[Begin.Length];
            return file.ReadAtLeast(begin, begin.Length, throwOnEndOfStream: false) == begin.Length && Encoding.ASCII.GetString(begin) == Begin;
        }
        catch (FileNotFoundException)
        {
            return false;
        }
    }

    public byte[] Wrap(ReadOnlySpan<byte> key, ReadOnlySpan<byte> label)
    {
        using var cipher = new AesGcm(_key, DataKey.TagBytes);
        var wrapped = new byte[DataKey.NonceBytes + DataKey.TagBytes + key.Length];
        RandomNumberGenerator.Fill(wrapped.AsSpan(0, DataKey.NonceBytes));
        cipher.Encrypt(
            wrapped.AsSpan(0, DataKey.NonceBytes), key, wrapped.AsSpan(DataKey.NonceBytes + DataKey.TagBytes),
            wrapped.AsSpan(DataKey.NonceBytes, DataKey.TagBytes), label);
        return wrapped;
    }

    public byte[] Unwrap(ReadOnlySpan<byte> wrapped, ReadOnlySpan<byte> label)
    {
        if (wrapped.Length < DataKey.NonceBytes + DataKey.TagBytes)
        {
            throw new CryptographicException("A wrapped key is too short.");
        }

        using var cipher = new AesGcm(_key, DataKey.TagBytes);
        var key = new byte[wrapped.Length - DataKey.NonceBytes - DataKey.TagBytes];
        cipher.Decrypt(
            wrapped[..DataKey.NonceBytes], wrapped[(DataKey.NonceBytes + DataKey.TagBytes)..], wrapped.Slice(DataKey.NonceBytes, DataKey.TagBytes), key, label);
        return key;
    }
}
