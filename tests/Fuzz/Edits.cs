using System.Buffers.Binary;

namespace Yizhan.Fuzz;

/// <summary>Changes to bytes at places of the original, made all at once from the back, so that none moves another's place.</summary>
internal sealed class Edits
{
    private readonly List<(int At, int Remove, byte[] Insert)> _edits = [];

    /// <summary>Takes bytes away and puts others there.</summary>
    public void Replace(int at, int remove, params byte[] insert) => _edits.Add((at, remove, insert));

    /// <summary>The changed bytes.</summary>
    public byte[] Apply(byte[] original)
    {
        var result = new List<byte>(original);
        foreach (var (at, remove, insert) in _edits.OrderByDescending(e => e.At))
        {
            var place = Math.Clamp(at, 0, result.Count);
            result.RemoveRange(place, Math.Clamp(remove, 0, result.Count - place));
            result.InsertRange(place, insert);
        }

        _edits.Clear();
        return [.. result];
    }

    /// <summary>A change that knows nothing of any structure.</summary>
    public void AddBlind(byte[] bytes, int from, Chance chance)
    {
        var at = Math.Min(from, bytes.Length) + chance.Below(Math.Max(1, bytes.Length - from));
        switch (chance.Below(7))
        {
            case 0:
                Replace(at, 1, (byte)chance.Below(256));
                break;
            case 1:
                Replace(at, 1, (byte)((at < bytes.Length ? bytes[at] : 0) ^ (1 << chance.Below(8))));
                break;
            case 2:
                Replace(at, bytes.Length);
                break;
            case 3:
                var copied = bytes.AsSpan(Math.Min(at, bytes.Length));
                Replace(at, 0, copied[..Math.Min(copied.Length, 1 + chance.Below(64))].ToArray());
                break;
            case 4:
                Replace(at, 4, UInt32(chance.Length(), chance.OneIn(2)));
                break;
            case 5:
                Replace(at, 1 + chance.Below(20));
                break;
            default:
                var noise = new byte[1 + chance.Below(12)];
                for (var i = 0; i < noise.Length; i++)
                {
                    noise[i] = (byte)chance.Below(256);
                }

                Replace(at, chance.OneIn(2) ? noise.Length : 0, noise);
                break;
        }
    }

    public static byte[] UInt32(uint value, bool bigEndian)
    {
        var bytes = new byte[4];
        if (bigEndian)
        {
            BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        }
        else
        {
            BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        }

        return bytes;
    }

    public static byte[] UInt16(ushort value, bool bigEndian) =>
        bigEndian ? [(byte)(value >> 8), (byte)value] : [(byte)value, (byte)(value >> 8)];
}
