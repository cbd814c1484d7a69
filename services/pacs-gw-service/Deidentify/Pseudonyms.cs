using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Options;
using Yizhan.Platform;

namespace Yizhan.PacsGw.Deidentify;

/// <summary>
/// Names, UIDs and shifted dates of one project. Each follows from the project's key and the original alone, so instances that come years apart fit
/// together, and nobody without the key can tell who is who or try out identifiers.
/// </summary>
internal sealed class Pseudonyms(byte[] key, UidFactory uids)
{
    private const string Alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

    /// <summary>Key length in bytes.</summary>
    public const int KeyBytes = 32;

    /// <summary>What stands for a patient: 16 characters of 32, for an identifier or a name.</summary>
    public string OfPatient(string patientId, string issuer)
    {
        var hash = Hash($"patient:{issuer}:{patientId}");
        return string.Create(16, hash, static (text, bytes) =>
        {
            for (var i = 0; i < text.Length; i++)
            {
                text[i] = Alphabet[bytes[i] % 32];
            }
        });
    }

    /// <summary>The UID that stands for another.</summary>
    public string OfUid(string uid) => uids.Derive(key, uid);

    /// <summary>Days by which all dates of a patient are moved back: 1 to 3650.</summary>
    public int DaysBack(string patientId, string issuer) =>
        1 + (int)(BinaryPrimitives.ReadUInt32BigEndian(Hash($"days:{issuer}:{patientId}")) % 3650);

    private byte[] Hash(string what) => HMACSHA256.HashData(key, Encoding.UTF8.GetBytes(what));
}

/// <summary>
/// The projects' keys: 32 random bytes in <c>pacs-gw/projects/NAME.key</c> of the node's folder, made when a project is first used. Whoever keeps the
/// file can link pseudonyms to patients; whoever deletes it can no more.
/// </summary>
internal sealed class ProjectKeys(IOptions<NodeOptions> node, UidFactory uids)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, Pseudonyms> _projects = [];

    /// <summary>The pseudonyms of a project.</summary>
    /// <exception cref="InvalidDataException">Its key file has another length.</exception>
    public Pseudonyms Of(string project)
    {
        lock (_gate)
        {
            if (!_projects.TryGetValue(project, out var pseudonyms))
            {
                _projects.Add(project, pseudonyms = new Pseudonyms(ReadOrCreate(node.Value.PathOf("pacs-gw", "projects", project + ".key")), uids));
            }

            return pseudonyms;
        }
    }

    private static byte[] ReadOrCreate(string path)
    {
        if (!File.Exists(path))
        {
            // Written aside and renamed: a key that was cut would make other pseudonyms for ever.
            var options = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write };
            if (!OperatingSystem.IsWindows())
            {
                options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            }

            using (var file = new FileStream(path + ".new", options))
            {
                file.Write(RandomNumberGenerator.GetBytes(Pseudonyms.KeyBytes));
                file.Flush(flushToDisk: true);
            }

            File.Move(path + ".new", path);
        }

        var key = File.ReadAllBytes(path);
        return key.Length == Pseudonyms.KeyBytes
            ? key
            : throw new InvalidDataException($"{path} has {key.Length} bytes; a project's key has {Pseudonyms.KeyBytes}.");
    }
}
