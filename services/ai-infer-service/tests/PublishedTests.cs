using System.Net.Http.Json;
using System.Text.Json;

namespace Yizhan.AiInfer.Tests;

/// <summary>The programs of the images start a model's process without anything of the machine.</summary>
[Trait("Clause", "S3")]
public sealed class PublishedTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-ai-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("AiInfer")]
    [InlineData("Host", "edge", "--pacs-gw:acceptAssociations=false")]
    public async Task A_program_published_with_its_runtime_tries_a_bundle_and_asks_its_process(string project, params string[] arguments)
    {
        await using var program = await PublishedProgram.StartAsync(
            project, Path.Combine(_folder, "data"), [.. arguments, "--ai-infer:allowUnsigned=true", "--ai-infer:workerMemoryMiB=700", "--ai-infer:grpcEndPoint=127.0.0.1:0"]);
        var bundle = TestBundle.Write(_folder, "apart", "1", OnnxFile.PlusOne(), """{"isolation":"process"}""");
        using (var added = await program.Http.PostAsync("/ai-infer/models", new ByteArrayContent(TestBundle.Zip(bundle)), Node.Cancel))
        {
            Assert.True(added.IsSuccessStatusCode, await added.Content.ReadAsStringAsync(Node.Cancel));
        }

        using (var loaded = await program.Http.PostAsync("/v2/repository/models/apart/load", new StringContent("{}"), Node.Cancel))
        {
            Assert.True(loaded.IsSuccessStatusCode, await loaded.Content.ReadAsStringAsync(Node.Cancel));
        }

        using var answer = await program.Http.PostAsync(
            "/v2/models/apart/infer", new StringContent("""{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}"""), Node.Cancel);
        var body = await answer.Content.ReadFromJsonAsync<JsonElement>(Node.Cancel);
        Assert.True(answer.IsSuccessStatusCode, body.GetRawText());
        Assert.Equal([2, 3, 4, 5], body.GetProperty("outputs")[0].GetProperty("data").EnumerateArray().Select(v => v.GetDouble()));

        // Its ceiling holds there too.
        var hostile = TestBundle.Write(_folder, "hostile", "1", OnnxFile.MemoryBomb(8));
        using var refused = await program.Http.PostAsync("/ai-infer/models", new ByteArrayContent(TestBundle.Zip(hostile)), Node.Cancel);
        Assert.Equal(422, (int)refused.StatusCode);
        Assert.Contains("did not pass its trial", await refused.Content.ReadAsStringAsync(Node.Cancel), StringComparison.Ordinal);
    }
}
