using System.Security.Cryptography;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;

namespace Yizhan.Drills;

/// <summary>A DICOM file that a drill sends: its data set goes out as it is, and its hash is the drill's own.</summary>
public sealed class InstanceFile
{
    private readonly Lazy<string> _sha256;

    private InstanceFile(string name, StoreInstance instance)
    {
        Name = name;
        Instance = instance;
        _sha256 = new Lazy<string>(() => Hash(instance));
    }

    /// <summary>Path relative to the folder.</summary>
    public string Name { get; }

    /// <summary>Hash of the data set as it is sent, 64 lower-case hex digits; computed when it is first asked for.</summary>
    public string Sha256 => _sha256.Value;

    /// <summary>What the sender needs.</summary>
    public StoreInstance Instance { get; }

    // Enough for any real file meta information; what is longer is read whole.
    private const int HeaderBytes = 64 * 1024;

    /// <summary>Reads what is needed to send each file below a folder. Those that cannot be sent go to the ledger with the reason.</summary>
    public static List<InstanceFile> ReadFolder(string folder, Ledger ledger)
    {
        var files = new List<InstanceFile>();
        foreach (var path in Directory.GetFiles(folder, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            var name = Path.GetRelativePath(folder, path);
            try
            {
                files.Add(Read(path, name));
            }
            catch (DicomFormatException e)
            {
                ledger.Refuse(name, $"not sent: {e.Message}");
            }
        }

        return files;
    }

    /// <summary>Reads what is needed to send one file.</summary>
    /// <exception cref="DicomFormatException">It is not DICOM, or C-STORE cannot carry it.</exception>
    public static InstanceFile Read(string path, string name)
    {
        using var file = File.OpenRead(path);
        var start = new byte[Math.Min(file.Length, HeaderBytes)];
        file.ReadExactly(start);
        var header = DicomFileHeader.Read(start);
        var about = header.Meta.Contains(DicomTags.MediaStorageSOPInstanceUID) && header.Meta.Contains(DicomTags.MediaStorageSOPClassUID)
            ? header.Meta
            : DicomFile.Parse(File.ReadAllBytes(path)).Dataset;
        var sopClass = about.GetString(DicomTags.MediaStorageSOPClassUID) ?? about.GetString(DicomTags.SOPClassUID);
        var sopInstance = about.GetString(DicomTags.MediaStorageSOPInstanceUID) ?? about.GetString(DicomTags.SOPInstanceUID);
        if (string.IsNullOrEmpty(sopClass) || string.IsNullOrEmpty(sopInstance))
        {
            throw new DicomFormatException("it has no SOP class or no SOP instance UID, which C-STORE needs", header.DatasetOffset);
        }

        return new InstanceFile(name, new StoreInstance(sopClass, sopInstance, header.TransferSyntax.Uid, () => Open(path, header.DatasetOffset)));
    }

    private static FileStream Open(string path, long offset)
    {
        var file = File.OpenRead(path);
        file.Position = offset;
        return file;
    }

    /// <summary>Hash of the data set as it goes over the wire, where every fragment has an even length (PS3.8 §E.1): an odd one gets a zero.</summary>
    private static string Hash(StoreInstance instance)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        using var dataSet = instance.Open();
        var buffer = new byte[128 * 1024];
        var length = 0L;
        int read;
        while ((read = dataSet.Read(buffer)) > 0)
        {
            hash.AppendData(buffer, 0, read);
            length += read;
        }

        if (length % 2 == 1)
        {
            hash.AppendData([0]);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
