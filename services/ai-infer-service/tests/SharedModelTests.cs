using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using Yizhan.OpenInference;

namespace Yizhan.AiInfer.Tests;

/// <summary>Models of public projects, kept beside the tree, not in it: each gives its expected output through REST and gRPC.</summary>
public sealed class SharedModelTests
{
    /// <summary>Triton's own samples: sum and difference of two tensors.</summary>
    [Theory]
    [Trait("Clause", "S3")]
    [InlineData("triton-examples/simple/1/model.onnx", "INT32")]
    [InlineData("triton-examples/simple_int8/1/model.onnx", "INT8")]
    [InlineData("triton-examples/simple_string/1/model.onnx", "BYTES")]
    public async Task Sum_and_difference_of_the_samples_of_Triton(string path, string datatype)
    {
        await using var node = await NodeAsync(path, 2, 2);
        int[] a = [.. Enumerable.Range(0, 16)], b = [.. Enumerable.Repeat(1, 16)];
        var inputs = new[] { Integers("INPUT0", datatype, a), Integers("INPUT1", datatype, b) };
        var sum = Integers("OUTPUT0", datatype, [.. a.Select(v => v + 1)]);
        var difference = Integers("OUTPUT1", datatype, [.. a.Select(v => v - 1)]);
        foreach (var outputs in new[] { await node.InferBinaryAsync("m", inputs), await node.InferGrpcAsync("m", inputs) })
        {
            Assert.Equal(sum.Data.ToArray(), outputs.Single(o => o.Name == "OUTPUT0").Data.ToArray());
            Assert.Equal(difference.Data.ToArray(), outputs.Single(o => o.Name == "OUTPUT1").Data.ToArray());
        }

        // The request of Triton's documentation, as JSON.
        var data = datatype == "BYTES" ? string.Join(",", a.Select(v => $"\"{v}\"")) : string.Join(",", a);
        var ones = datatype == "BYTES" ? string.Join(",", b.Select(v => $"\"{v}\"")) : string.Join(",", b);
        var (status, json) = await node.PostAsync("/v2/models/m/infer", $$"""
            {"id":"1","inputs":[{"name":"INPUT0","shape":[1,16],"datatype":"{{datatype}}","data":[{{data}}]},{"name":"INPUT1","shape":[1,16],"datatype":"{{datatype}}","data":[{{ones}}]}],"outputs":[{"name":"OUTPUT0"}]}
            """);
        Assert.Equal(200, status);
        Assert.Equal(a.Select(v => $"{v + 1}"), json.GetProperty("outputs")[0].GetProperty("data").EnumerateArray().Select(e => e.ToString()));
    }

    /// <summary>Triton's samples of sequences, one step of each; who keeps the sequence sends its controls as inputs.</summary>
    [Theory]
    [Trait("Clause", "S3")]
    [InlineData("triton-examples/simple_sequence/1/model.onnx", "INPUT START READY", 6)]
    [InlineData("triton-examples/simple_dyna_sequence/1/model.onnx", "INPUT START END READY CORRID", 48)]
    public async Task A_step_of_the_sequences_of_Triton(string path, string names, int expected)
    {
        // (INPUT + START + END · CORRID) · READY
        var inputs = names.Split(' ').Select(name => name == "CORRID" ? new InferenceTensor(name, "UINT64", [1, 1], BitConverter.GetBytes(42UL))
            : Integers(name, "INT32", [name == "INPUT" ? 5 : 1])).ToArray();
        await using var node = await NodeAsync(path, inputs.Length, 1);
        foreach (var outputs in new[] { await node.InferBinaryAsync("m", inputs), await node.InferGrpcAsync("m", inputs) })
        {
            Assert.Equal(expected, BitConverter.ToInt32(outputs.Single().Data.Span));
        }
    }

    /// <summary>Every other model: the same numbers as ONNX Runtime called directly gives.</summary>
    [Theory]
    [Trait("Clause", "S3")]
    [InlineData("ort-mnist/mnist.onnx", new[] { "1,1,28,28" })]
    [InlineData("silero-vad/silero_vad_16k_op15.onnx", new[] { "2,576", "2,2,128", "" })]
    [InlineData("silero-vad/silero_vad.onnx", new[] { "2,576", "2,2,128", "" })]
    [InlineData("own/nmt_enc.onnx", new[] { "2,7" })]
    [InlineData("own/nmt_dec.onnx", new[] { "2,5", "2,7,160", "2,7" })]
    [InlineData("gtcrn/gtcrn_simple.onnx", new[] { "1,257,1,2", "2,1,16,16,33", "2,3,1,1,16", "2,1,33,16" })]
    [InlineData("own/mednist_cnn.onnx", new[] { "3,1,64,64" })]
    [InlineData("own/phantom_unet.onnx", new[] { "2,1,96,96" })]
    [InlineData("own/ctc_zh.onnx", new[] { "1,60,40" })]
    [InlineData("brainchop/model5_gw_ae.onnx", new[] { "1,1,32,32,32" })]
    [InlineData("brainchop/model11_gw_ae.onnx", new[] { "1,1,32,32,32" })]
    [InlineData("brainchop/model18cls.onnx", new[] { "1,1,32,32,32" })]
    [InlineData("brainchop/model20chan3cls.onnx", new[] { "1,1,32,32,32" })]
    [InlineData("brainchop/model21_104class.onnx", new[] { "1,1,32,32,32" })]
    [InlineData("brainchop/model30chan18cls.onnx", new[] { "1,1,32,32,32" })]
    [InlineData("brainchop/model30chan50cls.onnx", new[] { "1,1,32,32,32" })]
    public async Task The_same_numbers_as_the_runtime_alone(string path, string[] shapes)
    {
        var file = SharedFile.Require(path);
        using var session = new InferenceSession(file);
        var inputs = session.InputNames.Select((name, i) => Seeded(name, session.InputMetadata[name], shapes[i])).ToArray();
        var expected = Direct(session, inputs);

        await using var node = await NodeAsync(path, session.InputNames.Count, session.OutputNames.Count);
        foreach (var outputs in new[] { await node.InferBinaryAsync("m", inputs), await node.InferGrpcAsync("m", inputs) })
        {
            Assert.Equal(session.OutputNames, outputs.Select(o => o.Name));
            for (var i = 0; i < outputs.Count; i++)
            {
                Assert.Equal(expected[i].Shape, outputs[i].Shape);
                Same(expected[i], outputs[i]);
            }
        }
    }

    private static void Same(InferenceTensor expected, InferenceTensor actual)
    {
        if (expected.Datatype != "FP32")
        {
            Assert.Equal(expected.Data.ToArray(), actual.Data.ToArray());
            return;
        }

        // Another number of threads adds in another order: the last digits of a float may differ.
        var (a, b) = (Floats.Of(expected), Floats.Of(actual));
        Assert.Equal(a.Count, b.Count);
        for (var i = 0; i < a.Count; i++)
        {
            Assert.True(Math.Abs(a[i] - b[i]) <= 1e-4f + 1e-3f * Math.Abs(a[i]), $"element {i}: {a[i]} and {b[i]}");
        }
    }

    private static IReadOnlyList<InferenceTensor> Direct(InferenceSession session, InferenceTensor[] inputs)
    {
        using var options = new RunOptions();
        var values = inputs.Select(i => i.Datatype == "BOOL" ? OrtValue.CreateTensorValueFromMemory(Array.ConvertAll(i.Data.ToArray(), b => b != 0), [.. i.Shape])
            : i.Datatype == "INT64"
            ? OrtValue.CreateTensorValueFromMemory(System.Runtime.InteropServices.MemoryMarshal.Cast<byte, long>(i.Data.Span).ToArray(), [.. i.Shape])
            : OrtValue.CreateTensorValueFromMemory<float>([.. Floats.Of(i)], [.. i.Shape])).ToArray();
        using var results = session.Run(options, session.InputNames, values, session.OutputNames);
        return [.. results.Select((r, i) => new InferenceTensor(
            session.OutputNames[i], r.GetTensorTypeAndShape().ElementDataType == TensorElementType.Float ? "FP32" : "INT64", r.GetTensorTypeAndShape().Shape, r.GetTensorMutableRawData().ToArray()))];
    }

    private static InferenceTensor Seeded(string name, NodeMetadata metadata, string shape)
    {
        long[] dims = [.. shape.Split(',', StringSplitOptions.RemoveEmptyEntries).Select(d => long.Parse(d, System.Globalization.CultureInfo.InvariantCulture))];
        if (metadata.ElementDataType == TensorElementType.Int64)
        {
            // A rate of a recording, or words of a sentence.
            var words = Enumerable.Range(0, (int)dims.Aggregate(1L, (a, b) => a * b)).Select(i => dims.Length == 0 ? 16000L : 5 + 37 * i);
            return new InferenceTensor(name, "INT64", dims, System.Runtime.InteropServices.MemoryMarshal.AsBytes<long>(words.ToArray()).ToArray());
        }

        if (metadata.ElementDataType == TensorElementType.Bool)
        {
            return new InferenceTensor(name, "BOOL", dims, new byte[dims.Aggregate(1L, (a, b) => a * b)]);
        }

        var random = new Random(4);
        return Floats.Tensor(name, dims, [.. Enumerable.Range(0, (int)dims.Aggregate(1L, (a, b) => a * b)).Select(_ => (float)random.NextDouble())]);
    }

    private static InferenceTensor Integers(string name, string datatype, int[] values) => new(name, datatype, [1, values.Length], datatype switch
    {
        "INT8" => Array.ConvertAll(values, v => (byte)(sbyte)v),
        "BYTES" => InferenceTensor.OfStrings(values.Select(v => $"{v}")),
        _ => System.Runtime.InteropServices.MemoryMarshal.AsBytes(values.AsSpan()).ToArray(),
    });

    private static Task<Node> NodeAsync(string path, int inputs, int outputs)
    {
        var onnx = File.ReadAllBytes(SharedFile.Require(path));
        return Node.StartAsync(models => TestBundle.Write(models, "m", "1", onnx, inputs: inputs, outputs: outputs), "--ai-infer:load:0=m");
    }
}
