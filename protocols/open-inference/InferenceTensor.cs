using System.Buffers.Binary;
using System.Text;

namespace Yizhan.OpenInference;

/// <summary>A tensor as the protocol carries it.</summary>
/// <param name="Name">Name of the model's input or output.</param>
/// <param name="Datatype">One of <see cref="TensorDatatype"/>.</param>
/// <param name="Shape">Dimensions; an empty shape is a scalar.</param>
/// <param name="Data">Elements in little endian, row-major; <c>BYTES</c>: each with its length as uint32 before it.</param>
public sealed record InferenceTensor(string Name, string Datatype, IReadOnlyList<long> Shape, ReadOnlyMemory<byte> Data)
{
    /// <summary>Dimensions that a tensor may have.</summary>
    public const int MaxRank = 16;

    /// <summary>Elements of the shape.</summary>
    public long Count => CountOf(Name, Shape);

    /// <summary>Elements of a shape.</summary>
    /// <exception cref="InferenceFormatException">A dimension is negative, there are too many, or their product is beyond 2^62.</exception>
    public static long CountOf(string name, IReadOnlyList<long> shape)
    {
        if (shape.Count > MaxRank)
        {
            throw new InferenceFormatException($"Tensor '{name}' has {shape.Count} dimensions; accepted: up to {MaxRank}.");
        }

        var count = 1L;
        foreach (var dimension in shape)
        {
            if (dimension < 0 || dimension > 0 && count > (1L << 62) / dimension)
            {
                throw new InferenceFormatException($"The shape [{string.Join(",", shape)}] of tensor '{name}' is impossible; accepted: dimensions of 0 and more whose product fits memory.");
            }

            count *= dimension;
        }

        return count;
    }

    /// <summary>Returns this tensor when its bytes are those that datatype and shape need.</summary>
    /// <exception cref="InferenceFormatException">They are not; the message says how many there are and how many are needed.</exception>
    public InferenceTensor Checked()
    {
        var count = Count;
        var size = TensorDatatype.SizeOf(Datatype);
        if (size < 0)
        {
            throw new InferenceFormatException($"Tensor '{Name}' has datatype '{Datatype}'; accepted: {TensorDatatype.All}.");
        }

        if (size > 0 ? Data.Length != (Int128)count * size : CountOfBytes() != count)
        {
            throw new InferenceFormatException(
                $"Tensor '{Name}' has {Data.Length} bytes of data; its shape [{string.Join(",", Shape)}] of {Datatype} needs {(size > 0 ? $"{(Int128)count * size}" : $"{count} elements, each after its length as uint32")}.");
        }

        return this;
    }

    /// <summary>The elements of a <c>BYTES</c> tensor.</summary>
    /// <exception cref="InferenceFormatException">A length points beyond the data.</exception>
    public IReadOnlyList<ReadOnlyMemory<byte>> Elements()
    {
        var elements = new List<ReadOnlyMemory<byte>>();
        for (var rest = Data; rest.Length > 0;)
        {
            var length = rest.Length < 4 ? long.MaxValue : BinaryPrimitives.ReadUInt32LittleEndian(rest.Span);
            if (length > rest.Length - 4)
            {
                throw new InferenceFormatException($"Element {elements.Count} of BYTES tensor '{Name}' is longer than the data that follows it.");
            }

            elements.Add(rest.Slice(4, (int)length));
            rest = rest[(4 + (int)length)..];
        }

        return elements;
    }

    /// <summary>The data of a <c>BYTES</c> tensor out of its elements.</summary>
    public static byte[] OfElements(IEnumerable<ReadOnlyMemory<byte>> elements)
    {
        var stream = new MemoryStream();
        Span<byte> length = stackalloc byte[4];
        foreach (var element in elements)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(length, (uint)element.Length);
            stream.Write(length);
            stream.Write(element.Span);
        }

        return stream.ToArray();
    }

    /// <inheritdoc cref="OfElements(IEnumerable{ReadOnlyMemory{byte}})"/>
    public static byte[] OfStrings(params IEnumerable<string> texts) => OfElements(texts.Select(t => (ReadOnlyMemory<byte>)Encoding.UTF8.GetBytes(t)));

    private long CountOfBytes() => Elements().Count;
}
