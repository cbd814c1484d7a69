using System.Net;
using System.Net.Sockets;
using System.Text;
using Grpc.Core;
using Yizhan.OpenInference.Grpc;

namespace Yizhan.AiInfer.Tests;

/// <summary>The Open Inference Protocol on real sockets.</summary>
public sealed class ProtocolTests
{
    [Fact]
    [Trait("Clause", "S3")]
    public async Task Server_and_model_describe_themselves_in_both_protocols()
    {
        await using var node = await PlusOneAsync();
        Assert.True((await node.GetAsync("/v2/health/live")).GetProperty("live").GetBoolean());
        Assert.True((await node.GetAsync("/v2/health/ready")).GetProperty("ready").GetBoolean());
        Assert.Contains("binary_tensor_data", (await node.GetAsync("/v2")).GetProperty("extensions").EnumerateArray().Select(e => e.GetString()));
        var metadata = await node.GetAsync("/v2/models/plus/versions/1");
        Assert.Equal("""{"name":"plus","versions":["1"],"platform":"onnx_onnxv1","inputs":[{"name":"x","datatype":"FP32","shape":[-1,4]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1,4]}]}""", metadata.GetRawText());
        Assert.True((await node.GetAsync("/v2/models/plus/ready")).GetProperty("ready").GetBoolean());

        Assert.True((await node.Grpc.ServerReadyAsync(new(), cancellationToken: Node.Cancel)).Ready);
        var described = await node.Grpc.ModelMetadataAsync(new ModelMetadataRequest { Name = "plus" }, cancellationToken: Node.Cancel);
        Assert.Equal([-1L, 4], described.Inputs.Single().Shape);
        Assert.False((await node.Grpc.ModelReadyAsync(new ModelReadyRequest { Name = "other" }, cancellationToken: Node.Cancel)).Ready);
    }

    [Fact]
    [Trait("Clause", "S3")]
    public async Task Json_binary_and_grpc_give_one_answer()
    {
        await using var node = await PlusOneAsync();
        var (status, json) = await node.PostAsync("/v2/models/plus/infer", """{"id":"a1","inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[[0,1.5,-1,7]]}],"outputs":[{"name":"y"}]}""");
        Assert.Equal(200, status);
        Assert.Equal("""{"model_name":"plus","model_version":"1","id":"a1","outputs":[{"name":"y","datatype":"FP32","shape":[1,4],"data":[1,2.5,0,8]}]}""", json.GetRawText());

        var input = Floats.Tensor("x", [1, 4], 0, 1.5f, -1, 7);
        Assert.Equal([1, 2.5f, 0, 8], Floats.Of((await node.InferBinaryAsync("plus", input)).Single()));
        Assert.Equal([1, 2.5f, 0, 8], Floats.Of((await node.InferGrpcAsync("plus", input)).Single()));
    }

    [Theory]
    [InlineData("other", """{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}""", 404, "no model 'other'")]
    [InlineData("plus", """{"inputs":[{"name":"z","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}""", 400, "no input 'z'; accepted: 'x' FP32[-1,4]")]
    [InlineData("plus", """{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}""", 400, "FP32[1,3]; accepted: FP32[-1,4]")]
    [InlineData("plus", """{"inputs":[{"name":"x","shape":[1,4],"datatype":"INT32","data":[1,2,3,4]}]}""", 400, "INT32[1,4]; accepted: FP32")]
    [InlineData("plus", """{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}],"outputs":[{"name":"w"}]}""", 400, "no output 'w'; accepted: y")]
    [InlineData("plus", "no", 400, "not JSON")]
    public async Task What_does_not_fit_the_model_is_refused_with_the_reason(string model, string json, int status, string reason)
    {
        await using var node = await PlusOneAsync();
        var (answered, body) = await node.PostAsync($"/v2/models/{model}/infer", json);
        Assert.Equal(status, answered);
        Assert.Contains(reason, body.GetProperty("error").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Numbers_that_are_not_finite_are_refused_unless_the_bundle_takes_them()
    {
        await using var node = await Node.StartAsync(models =>
        {
            TestBundle.Write(models, "strict", "1", OnnxFile.PlusOne(100));
            TestBundle.Write(models, "lax", "1", OnnxFile.PlusOne(100), """{"runner":{"refuseNotFinite":false}}""");
        }, "--ai-infer:load:0=strict", "--ai-infer:load:1=lax");
        var values = new float[100];
        foreach (var (bad, at) in new[] { (float.NaN, 99), (float.PositiveInfinity, 3), (float.NaN, 41) })
        {
            Array.Clear(values);
            values[at] = bad;
            var input = Floats.Tensor("x", [1, 100], values);
            var error = await Assert.ThrowsAsync<RpcException>(() => node.InferGrpcAsync("strict", input));
            Assert.Equal(StatusCode.InvalidArgument, error.StatusCode);
            Assert.Contains($"Element {at} of input 'x'", error.Status.Detail, StringComparison.Ordinal);
            Assert.Equal(bad, Floats.Of((await node.InferBinaryAsync("lax", input)).Single())[at]);
        }
    }

    [Fact]
    public async Task A_request_of_four_gigabytes_is_refused_before_a_byte_of_it_is_read()
    {
        await using var node = await PlusOneAsync();
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, node.Http.BaseAddress!.Port, Node.Cancel);
        var stream = client.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes($"POST /v2/models/plus/infer HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {node.Token}\r\nContent-Length: 4294967296\r\n\r\n"), Node.Cancel);
        var answer = await new StreamReader(stream).ReadToEndAsync(Node.Cancel);
        Assert.StartsWith("HTTP/1.1 413", answer, StringComparison.Ordinal);
        Assert.Contains("4294967296 bytes; accepted: up to 268435456", answer, StringComparison.Ordinal);
    }

    /// <summary>Chunked, a request does not say how long it is: it is read up to the limit and no further.</summary>
    [Fact]
    public async Task A_request_that_does_not_say_its_length_ends_at_the_limit_in_both_protocols()
    {
        await using var node = await Node.StartAsync(models => TestBundle.Write(models, "plus", "1", OnnxFile.PlusOne()), "--ai-infer:load:0=plus", "--ai-infer:maxRequestMiB=1");
        using var request = new HttpRequestMessage(HttpMethod.Post, "/v2/models/plus/infer") { Content = new ByteArrayContent(new byte[2 * 1024 * 1024]) };
        request.Headers.TransferEncodingChunked = true;
        using var answer = await node.Http.SendAsync(request, Node.Cancel);
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, answer.StatusCode);

        var error = await Assert.ThrowsAsync<RpcException>(() => node.InferGrpcAsync("plus", Floats.Tensor("x", [131072, 4], new float[524288])));
        Assert.Equal(StatusCode.ResourceExhausted, error.StatusCode);

        // A shape that promises more than is there is refused for what it is.
        var (status, body) = await node.PostAsync("/v2/models/plus/infer", """{"inputs":[{"name":"x","shape":[1073741824,4],"datatype":"FP32","data":[1,2,3,4]}]}""");
        Assert.Equal(400, status);
        Assert.Contains("its shape needs 4294967296", body.GetProperty("error").GetString(), StringComparison.Ordinal);
        Assert.Equal([1, 1, 1, 1], Floats.Of((await node.InferGrpcAsync("plus", Floats.Tensor("x", [1, 4], new float[4]))).Single()));
    }

    [Fact]
    public async Task Statistics_index_and_metrics_count_what_happened()
    {
        await using var node = await PlusOneAsync();
        for (var i = 0; i < 3; i++)
        {
            await node.InferBinaryAsync("plus", Floats.Tensor("x", [2, 4], new float[8]));
        }

        await node.PostAsync("/v2/models/plus/infer", """{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,2,3]}]}""");

        var stats = (await node.GetAsync("/v2/models/plus/stats")).GetProperty("model_stats")[0];
        Assert.Equal((6, 3), (stats.GetProperty("inference_count").GetInt32(), stats.GetProperty("execution_count").GetInt32()));
        Assert.Equal(3, stats.GetProperty("inference_stats").GetProperty("success").GetProperty("count").GetInt32());
        Assert.Equal(1, stats.GetProperty("inference_stats").GetProperty("fail").GetProperty("count").GetInt32());
        Assert.True(stats.GetProperty("inference_stats").GetProperty("compute_infer").GetProperty("ns").GetInt64() > 0);
        var byGrpc = (await node.Grpc.ModelStatisticsAsync(new ModelStatisticsRequest(), cancellationToken: Node.Cancel)).ModelStats.Single(m => m.Name == "plus");
        Assert.Equal((6ul, 3ul), (byGrpc.InferenceCount, byGrpc.ExecutionCount));

        var metrics = await node.Http.GetStringAsync("/ai-infer/metrics", Node.Cancel);
        Assert.Contains("nv_inference_request_success{model=\"plus\",version=\"1\"} 3\n", metrics, StringComparison.Ordinal);
        Assert.Contains("nv_inference_request_failure{model=\"plus\",version=\"1\",reason=\"REJECTED\"} 1\n", metrics, StringComparison.Ordinal);
        Assert.Contains("nv_inference_count{model=\"plus\",version=\"1\"} 6\n", metrics, StringComparison.Ordinal);
        Assert.Contains("nv_inference_exec_count{model=\"plus\",version=\"1\"} 3\n", metrics, StringComparison.Ordinal);
        Assert.Contains("quantile=\"0.99\"", metrics, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Models_are_loaded_and_unloaded_and_several_versions_answer_at_once()
    {
        await using var node = await Node.StartAsync(models =>
        {
            TestBundle.Write(models, "plus", "9", OnnxFile.PlusOne());
            TestBundle.Write(models, "plus", "10", OnnxFile.PlusOne(plus: 2));
        });
        var input = Floats.Tensor("x", [1, 4], 0, 0, 0, 0);
        Assert.Equal(404, (await node.PostAsync("/v2/models/plus/infer", """{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}""")).Status);
        Assert.Equal(200, (await node.PostAsync("/v2/repository/models/plus/load")).Status);
        Assert.Equal(2, Floats.Of((await node.InferBinaryAsync("plus", input)).Single())[0]);
        await node.Grpc.RepositoryModelLoadAsync(
            new RepositoryModelLoadRequest { ModelName = "plus", Parameters = { ["version"] = new ModelRepositoryParameter { StringParam = "9" } } }, cancellationToken: Node.Cancel);
        Assert.Equal(1, Floats.Of((await node.InferBinaryAsync("plus/versions/9", input)).Single())[0]);
        Assert.Equal(2, Floats.Of((await node.InferBinaryAsync("plus/versions/10", input)).Single())[0]);
        var index = await node.PostAsync("/v2/repository/index", """{"ready":true}""");
        Assert.Equal(["9", "10"], index.Body.EnumerateArray().Where(m => m.GetProperty("name").GetString() == "plus").Select(m => m.GetProperty("version").GetString()));
        Assert.Equal(200, (await node.PostAsync("/v2/repository/models/plus/unload")).Status);
        Assert.Equal(404, (await node.PostAsync("/v2/models/plus/infer", """{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}""")).Status);
        Assert.Contains("signed bundles", (await node.PostAsync("/v2/repository/models/plus/load", """{"parameters":{"file:1/model.onnx":"AAAA"}}""")).Body.GetProperty("error").GetString(), StringComparison.Ordinal);
    }

    private static Task<Node> PlusOneAsync() => Node.StartAsync(models => TestBundle.Write(models, "plus", "1", OnnxFile.PlusOne()), "--ai-infer:load:0=plus");
}
