using System.Buffers;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Yizhan.OpenInference.Grpc;

namespace Yizhan.OpenInference.Tests;

/// <summary>Bodies as the protocol's own text shows them, and what is wrong with others.</summary>
public sealed class RequestTests
{
    /// <summary>The example of the protocol's text: data flat, nested, and before its shape.</summary>
    [Theory]
    [InlineData("""{"id":"42","inputs":[{"name":"input0","shape":[2,2],"datatype":"UINT32","data":[1,2,3,4]},{"name":"input1","shape":[3],"datatype":"BOOL","data":[true]}]}""", "more", false)]
    [InlineData("""{"id":"42","inputs":[{"name":"input0","shape":[2,2],"datatype":"UINT32","data":[1,2,3,4]}],"outputs":[{"name":"output0"}]}""", "", true)]
    [InlineData("""{"id":"42","inputs":[{"name":"input0","data":[[1,2],[3,4]],"datatype":"UINT32","shape":[2,2]}]}""", "", true)]
    public void The_example_of_the_protocol_is_read(string json, string problem, bool fits)
    {
        if (!fits)
        {
            Assert.Contains("1 elements", Assert.Throws<InferenceFormatException>(() => Read(json)).Message, StringComparison.Ordinal);
            Assert.NotEmpty(problem);
            return;
        }

        var request = Read(json);
        Assert.Equal("42", request.Id);
        Assert.Equal([1u, 2, 3, 4], MemoryMarshal.Cast<byte, uint>(request.Inputs[0].Data.Span).ToArray());
    }

    /// <summary>The example of the binary tensor data extension: 8 bytes of input0, input1 in JSON, 3 of input2.</summary>
    [Fact]
    public void Binary_tensors_follow_the_json_in_its_order()
    {
        const string Json = """
            {"model_name":"mymodel","inputs":[
            {"name":"input0","shape":[2,2],"datatype":"INT16","parameters":{"binary_data_size":8}},
            {"name":"input1","shape":[1],"datatype":"UINT32","data":[7]},
            {"name":"input2","shape":[3],"datatype":"BOOL","parameters":{"binary_data_size":3}}],
            "outputs":[{"name":"output0","parameters":{"binary_data":true}},{"name":"output1","parameters":{"binary_data":false}}],"parameters":{"binary_data_output":true}}
            """;
        var body = new byte[Json.Length + 11];
        Encoding.UTF8.GetBytes(Json, body);
        byte[] tail = [1, 0, 2, 0, 3, 0, 255, 255, 1, 0, 1];
        tail.CopyTo(body, Json.Length);

        var request = InferenceRequestReader.Read(body, Json.Length);

        Assert.Equal([1, 2, 3, -1], MemoryMarshal.Cast<byte, short>(request.Inputs[0].Data.Span).ToArray());
        Assert.Equal([7u], MemoryMarshal.Cast<byte, uint>(request.Inputs[1].Data.Span).ToArray());
        Assert.Equal([1, 0, 1], request.Inputs[2].Data.ToArray());
        Assert.True(request.IsBinary("output0"));
        Assert.False(request.IsBinary("output1"));
        Assert.True(request.IsBinary("another"));
    }

    [Theory]
    [InlineData("""{"inputs":[]}""", "no inputs")]
    [InlineData("""{"inputs":[{"name":"a","shape":"2","datatype":"FP32","data":[1]}]}""", "an array")]
    [InlineData("""{"inputs":[{"name":"a","shape":[1],"datatype":"FLOAT","data":[1]}]}""", "datatype 'FLOAT'")]
    [InlineData("""{"inputs":[{"name":"a","shape":[-1],"datatype":"FP32","data":[1]}]}""", "shape [-1]")]
    [InlineData("""{"inputs":[{"name":"a","shape":[9999999999,9999999999],"datatype":"FP32","data":[1]}]}""", "impossible")]
    [InlineData("""{"inputs":[{"name":"a","shape":[1000000000000],"datatype":"FP32","data":[1,2,3]}]}""", "3 elements")]
    [InlineData("""{"inputs":[{"name":"a","shape":[1],"datatype":"UINT8","data":[256]}]}""", "'256', which is no UINT8")]
    [InlineData("""{"inputs":[{"name":"a","shape":[1],"datatype":"FP16","data":[1]}]}""", "no FP16")]
    [InlineData("""{"inputs":[{"name":"a","shape":[1],"datatype":"FP32","data":["NaN"]}]}""", "no FP32")]
    [InlineData("""{"inputs":[{"name":"a","shape":[1],"datatype":"FP32","data":[1e99]}]}""", "no FP32")]
    [InlineData("""{"inputs":[{"name":"a","shape":[1],"datatype":"FP32","data":[NaN]}]}""", "not JSON")]
    [InlineData("""{"inputs":[{"name":"a","shape":[1],"datatype":"FP32","data":[1,2]}]}""", "more than the 1")]
    [InlineData("""{"inputs":[{"name":"a","shape":[1],"datatype":"FP32"}]}""", "neither data nor")]
    [InlineData("""{"inputs":[{"name":"a","shape":[1],"datatype":"FP32","parameters":{"binary_data_size":4}}]}""", "0 bytes of binary data are left")]
    [InlineData("""{"inputs":[{"shape":[1],"datatype":"FP32","data":[1]}]}""", "lacks name")]
    [InlineData("""{"inputs":[{"name":"a","shape":[1],"datatype":"FP32","data":[1]}]} x""", "not JSON")]
    [InlineData("", "not JSON")]
    public void What_is_no_request_is_refused_with_the_reason(string json, string reason) =>
        Assert.Contains(reason, Assert.Throws<InferenceFormatException>(() => Read(json)).Message, StringComparison.Ordinal);

    [Fact]
    public void A_header_longer_than_the_body_and_bytes_that_nobody_named_are_refused()
    {
        var body = Encoding.UTF8.GetBytes("""{"inputs":[{"name":"a","shape":[1],"datatype":"FP32","data":[1]}]}""");
        Assert.Contains("Inference-Header-Content-Length is 900", Assert.Throws<InferenceFormatException>(() => InferenceRequestReader.Read(body, 900)).Message, StringComparison.Ordinal);
        Assert.Contains("4 bytes of binary data", Assert.Throws<InferenceFormatException>(() => InferenceRequestReader.Read((byte[])[.. body, 1, 2, 3, 4], body.Length)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Strings_survive_json_binary_and_grpc()
    {
        var request = Read("""{"inputs":[{"name":"a","shape":[2],"datatype":"BYTES","data":["肺结节",""]}]}""");
        Assert.Equal(["肺结节", ""], request.Inputs[0].Elements().Select(e => Encoding.UTF8.GetString(e.Span)));

        var message = new ModelInferRequest { Inputs = { new ModelInferRequest.Types.InferInputTensor { Name = "a", Datatype = "BYTES", Shape = { 2 }, Contents = new InferTensorContents() } } };
        message.Inputs[0].Contents.BytesContents.Add(Google.Protobuf.ByteString.CopyFromUtf8("肺结节"));
        message.Inputs[0].Contents.BytesContents.Add(Google.Protobuf.ByteString.Empty);
        Assert.Equal(request.Inputs[0].Data.ToArray(), GrpcTensors.Read(message).Inputs[0].Data.ToArray());

        var cut = new InferenceTensor("a", "BYTES", [1], new byte[] { 9, 0, 0, 0, 1 });
        Assert.Contains("longer than the data", Assert.Throws<InferenceFormatException>(() => cut.Checked()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Numbers_of_grpc_contents_and_raw_contents_are_one_tensor()
    {
        var message = new ModelInferRequest { Inputs = { new ModelInferRequest.Types.InferInputTensor { Name = "a", Datatype = "INT8", Shape = { 2 }, Contents = new InferTensorContents { IntContents = { -1, 5 } } } } };
        Assert.Equal([255, 5], GrpcTensors.Read(message).Inputs[0].Data.ToArray());
        message.Inputs[0].Contents.IntContents[1] = 300;
        Assert.Contains("300 in input 'a' is no INT8", Assert.Throws<InferenceFormatException>(() => GrpcTensors.Read(message)).Message, StringComparison.Ordinal);
        message.Inputs[0].Contents = null;
        message.RawInputContents.Add(Google.Protobuf.ByteString.CopyFrom(255, 5));
        Assert.Equal([255, 5], GrpcTensors.Read(message).Inputs[0].Data.ToArray());
        message.RawInputContents.Add(Google.Protobuf.ByteString.Empty);
        Assert.Throws<InferenceFormatException>(() => GrpcTensors.Read(message));
    }

    [Fact]
    public void A_response_is_json_and_its_binary_tail()
    {
        var floats = new InferenceTensor("f", "FP32", [2], MemoryMarshal.AsBytes<float>([1.5f, -2]).ToArray());
        var ints = new InferenceTensor("i", "INT64", [1], MemoryMarshal.AsBytes<long>([long.MinValue]).ToArray());
        var request = new InferenceRequest("7", [], [new RequestedOutput("f", true)], false);
        var body = new ArrayBufferWriter<byte>();
        var tail = InferenceResponseWriter.Write(body, new InferenceResponse("m", "3", "7", [floats, ints]), request);

        using var json = JsonDocument.Parse(body.WrittenMemory);
        Assert.Equal("""{"model_name":"m","model_version":"3","id":"7","outputs":[{"name":"f","datatype":"FP32","shape":[2],"parameters":{"binary_data_size":8}},{"name":"i","datatype":"INT64","shape":[1],"data":[-9223372036854775808]}]}""", json.RootElement.GetRawText());
        Assert.Equal(floats.Data, Assert.Single(tail));
    }

    [Fact]
    public void A_number_that_json_cannot_carry_is_refused_with_the_way_out()
    {
        var tensor = new InferenceTensor("f", "FP32", [1], MemoryMarshal.AsBytes<float>([float.NaN]).ToArray());
        var error = Assert.Throws<InferenceFormatException>(() => InferenceResponseWriter.Write(
            new ArrayBufferWriter<byte>(), new InferenceResponse("m", "1", null, [tensor]), new InferenceRequest(null, [], [], false)));
        Assert.Contains("binary_data", error.Message, StringComparison.Ordinal);
    }

    private static InferenceRequest Read(string json) => InferenceRequestReader.Read(Encoding.UTF8.GetBytes(json), null);
}
