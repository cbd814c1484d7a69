using Google.Protobuf;

namespace Yizhan.AiInfer.Tests;

/// <summary>Small ONNX models, written field by field (onnx.proto), so that a test says itself what its model computes.</summary>
internal static class OnnxFile
{
    private const int Float = 1, Int64 = 7;

    /// <summary>y = x + 1 for x of any batch and <paramref name="columns"/> columns.</summary>
    public static byte[] PlusOne(int columns = 4, long opset = 13, float plus = 1) => Plus(plus, [-1, columns], opset);

    /// <summary>y = x + a constant, for x of any shape that fits.</summary>
    public static byte[] Plus(float plus, long[] shape, long opset = 13) => Model(opset, writer =>
    {
        Message(writer, 1, node => Node(node, "Add", ["x", "one"], "y"));
        Message(writer, 5, tensor => Tensor(tensor, "one", Float, [1], data => Packed(data, 4, floats => floats.WriteFloat(plus))));
        Message(writer, 11, value => Value(value, "x", shape));
        Message(writer, 12, value => Value(value, "y", shape));
    });

    /// <summary>Fills a tensor of <paramref name="gigabytes"/> before it answers: a model made to exhaust memory.</summary>
    public static byte[] MemoryBomb(long gigabytes) => Model(13, writer =>
    {
        // The size is computed from the input, so that no optimiser folds it into a constant when the model is loaded.
        Message(writer, 1, node => Node(node, "Shape", ["x"], "shape"));
        Message(writer, 1, node => Node(node, "Mul", ["shape", "factor"], "large"));
        Message(writer, 1, node => Node(node, "ConstantOfShape", ["large"], "filled"));
        Message(writer, 1, node => Node(node, "ReduceMax", ["filled"], "top"));
        Message(writer, 1, node => Node(node, "Add", ["x", "top"], "y"));
        Message(writer, 5, tensor => Tensor(tensor, "factor", Int64, [2], data => Packed(data, 7, numbers =>
        {
            numbers.WriteInt64(gigabytes * 64);
            numbers.WriteInt64(1024 * 1024);
        })));
        Message(writer, 11, value => Value(value, "x", [1, 4]));
        Message(writer, 12, value => Value(value, "y", [1, 4]));
    });

    private static byte[] Model(long opset, Action<CodedOutputStream> graph)
    {
        var stream = new MemoryStream();
        var writer = new CodedOutputStream(stream, leaveOpen: true);
        writer.WriteTag(1, WireFormat.WireType.Varint);
        writer.WriteInt64(8);
        Message(writer, 7, g =>
        {
            graph(g);
            Text(g, 2, "graph");
        });
        Message(writer, 8, o =>
        {
            Text(o, 1, "");
            o.WriteTag(2, WireFormat.WireType.Varint);
            o.WriteInt64(opset);
        });
        writer.Flush();
        return stream.ToArray();
    }

    private static void Node(CodedOutputStream writer, string type, string[] inputs, string output)
    {
        foreach (var input in inputs)
        {
            Text(writer, 1, input);
        }

        Text(writer, 2, output);
        Text(writer, 4, type);
    }

    private static void Tensor(CodedOutputStream writer, string name, int type, long[] dims, Action<CodedOutputStream> data)
    {
        Packed(writer, 1, packed => Array.ForEach(dims, packed.WriteInt64));
        writer.WriteTag(2, WireFormat.WireType.Varint);
        writer.WriteInt32(type);
        data(writer);
        Text(writer, 8, name);
    }

    private static void Value(CodedOutputStream writer, string name, long[] dims)
    {
        Text(writer, 1, name);
        Message(writer, 2, type => Message(type, 1, tensor =>
        {
            tensor.WriteTag(1, WireFormat.WireType.Varint);
            tensor.WriteInt32(Float);
            Message(tensor, 2, shape =>
            {
                foreach (var dim in dims)
                {
                    Message(shape, 1, d =>
                    {
                        if (dim < 0)
                        {
                            Text(d, 2, "n");
                        }
                        else
                        {
                            d.WriteTag(1, WireFormat.WireType.Varint);
                            d.WriteInt64(dim);
                        }
                    });
                }
            });
        }));
    }

    private static void Packed(CodedOutputStream writer, int field, Action<CodedOutputStream> values) => Message(writer, field, values);

    private static void Text(CodedOutputStream writer, int field, string text)
    {
        writer.WriteTag(field, WireFormat.WireType.LengthDelimited);
        writer.WriteString(text);
    }

    private static void Message(CodedOutputStream writer, int field, Action<CodedOutputStream> content)
    {
        var stream = new MemoryStream();
        var inner = new CodedOutputStream(stream, leaveOpen: true);
        content(inner);
        inner.Flush();
        writer.WriteTag(field, WireFormat.WireType.LengthDelimited);
        writer.WriteBytes(ByteString.CopyFrom(stream.ToArray()));
    }
}
