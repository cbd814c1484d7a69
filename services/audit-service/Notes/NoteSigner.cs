using System.Buffers.Binary;
using System.Text;
using NSec.Cryptography;
using Yizhan.Audit.Tree;
using Yizhan.Transparency;

namespace Yizhan.Audit.Notes;

/// <summary>The private key of a log: Ed25519 (RFC 8032), kept in a file that only its owner may read.</summary>
internal sealed class NoteSigner : IDisposable
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    private readonly Key _key;

    private NoteSigner(string name, Key key)
    {
        _key = key;
        var publicKey = key.PublicKey.Export(KeyBlobFormat.RawPublicKey);
        PublicKey = new NoteKey(name, NoteKey.Ed25519, publicKey);
        CosignatureKey = new NoteKey(name, NoteKey.Cosignature, publicKey);
    }

    /// <summary>Checks what <see cref="Sign"/> signs.</summary>
    public NoteKey PublicKey { get; }

    /// <summary>Checks what <see cref="Cosign"/> signs.</summary>
    public NoteKey CosignatureKey { get; }

    /// <summary>A key that no file has.</summary>
    public static NoteSigner Create(string name) =>
        new(name, Key.Create(SignatureAlgorithm.Ed25519, new() { ExportPolicy = KeyExportPolicies.AllowPlaintextExport }));

    /// <summary>Reads the key of a file; null when there is no such file.</summary>
    /// <exception cref="InvalidDataException">The file is not a key, or others than its owner may read it.</exception>
    public static NoteSigner? Read(string name, string path)
    {
        if (!File.Exists(path))
        {
            return null;
        }

        var mode = OperatingSystem.IsWindows() ? OwnerOnly : File.GetUnixFileMode(path);
        if ((mode & ~OwnerOnly) != 0)
        {
            throw new InvalidDataException($"The audit key '{path}' may be read by others than its owner ({mode}). Run: chmod 600 '{path}', and think about who read it.");
        }

        return Key.TryImport(SignatureAlgorithm.Ed25519, File.ReadAllBytes(path), KeyBlobFormat.NSecPrivateKey, out var key)
            ? new NoteSigner(name, key!)
            : throw new InvalidDataException($"'{path}' is not an Ed25519 private key. Restore it from the backup of this node.");
    }

    /// <summary>Writes the key; it is durable on return.</summary>
    public void Save(DurableFolder folder, string file)
    {
        folder.Replace(file, _key.Export(KeyBlobFormat.NSecPrivateKey), OwnerOnly);
        folder.SyncNames();
    }

    /// <summary>A note with this text and the signature of this key.</summary>
    public SignedNote Sign(string text) =>
        new(text, [new NoteSignature(PublicKey.Name, PublicKey.Id, SignatureAlgorithm.Ed25519.Sign(_key, Encoding.UTF8.GetBytes(text)))]);

    /// <summary>A witness's signature on another log's checkpoint (C2SP tlog-cosignature).</summary>
    public NoteSignature Cosign(string text, long unixSeconds)
    {
        var bytes = new byte[sizeof(long) + SignatureAlgorithm.Ed25519.SignatureSize];
        BinaryPrimitives.WriteInt64BigEndian(bytes, unixSeconds);
        SignatureAlgorithm.Ed25519.Sign(_key, NoteKey.CosignedMessage(unixSeconds, text)).CopyTo(bytes, sizeof(long));
        return new NoteSignature(CosignatureKey.Name, CosignatureKey.Id, bytes);
    }

    public void Dispose() => _key.Dispose();
}
