using System.Buffers.Binary;
using System.Text;

namespace Yizhan.Dicom.Tests.Network;

/// <summary>A DICOM file cut at the end of its meta information (PS3.10 §7.1), and no further.</summary>
internal sealed record Part10(string Path, string SopClassUid, string SopInstanceUid, string TransferSyntaxUid, ReadOnlyMemory<byte> DataSet)
{
    public static string Corpus
    {
        get
        {
            var folder = new DirectoryInfo(AppContext.BaseDirectory);
            while (!File.Exists(System.IO.Path.Combine(folder.FullName, "global.json")))
            {
                folder = folder.Parent ?? throw new DirectoryNotFoundException("No global.json above the test.");
            }

            var corpus = System.IO.Path.Combine(folder.Parent!.FullName, "shared", "corpus", "dicom", "given");
            Assert.SkipUnless(Directory.Exists(corpus), "../shared/corpus/dicom/given is not here.");
            return corpus;
        }
    }

    public static Part10 Read(string name)
    {
        var path = System.IO.Path.Combine(Corpus, name);
        return TryRead(path) ?? throw new InvalidDataException($"{path} has no meta information.");
    }

    public static Part10? TryRead(string path)
    {
        var bytes = File.ReadAllBytes(path);
        if (bytes.Length < 144 || !bytes.AsSpan(128, 4).SequenceEqual("DICM"u8))
        {
            return null;
        }

        var values = new Dictionary<ushort, string>();
        var at = 132;
        while (at + 8 <= bytes.Length && BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(at)) == 2)
        {
            var isLong = Encoding.ASCII.GetString(bytes, at + 4, 2) is "OB" or "UN";
            var length = isLong ? BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(at + 8)) : BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(at + 6));
            var start = at + (isLong ? 12 : 8);
            if (length < 0 || start + length > bytes.Length)
            {
                return null;
            }

            values[BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(at + 2))] = Encoding.ASCII.GetString(bytes, start, length).TrimEnd('\0', ' ');
            at = start + length;
        }

        return values.TryGetValue(0x0002, out var sopClass) && values.TryGetValue(0x0003, out var instance) && values.TryGetValue(0x0010, out var syntax)
            ? new(path, sopClass, instance, syntax, bytes.AsMemory(at))
            : null;
    }
}
