using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.AiInfer.Engine;
using Yizhan.AiInfer.Repository;

namespace Yizhan.AiInfer.Tests;

/// <summary>What is taken as a model, and what is not.</summary>
public sealed class BundleTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-bundle-").FullName;
    private readonly ECDsa _key = ECDsa.Create(ECCurve.NamedCurves.nistP256);

    public void Dispose()
    {
        _key.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Fact]
    [Trait("Clause", "S3")]
    public async Task A_signed_bundle_is_added_tried_and_loaded()
    {
        await using var node = await NodeAsync();
        var folder = TestBundle.Write(_folder, "plus", "1.2", OnnxFile.PlusOne());
        TestBundle.Sign(folder, "li", _key);
        Assert.Equal("plus 1.2", (await AddAsync(node, TestBundle.Zip(folder))).Body);
        Assert.Equal(200, (await node.PostAsync("/v2/repository/models/plus/load")).Status);
        Assert.Equal(2, Floats.Of((await node.InferBinaryAsync("plus", Floats.Tensor("x", [1, 4], 1, 1, 1, 1))).Single())[0]);
        var view = (await node.GetAsync("/ai-infer/models")).EnumerateArray().Single(m => m.GetProperty("name").GetString() == "plus");
        Assert.Equal("li", view.GetProperty("signedBy")[0].GetString());
        Assert.False(view.GetProperty("clinicalUse").GetBoolean());
        Assert.Contains("CPU", view.GetProperty("runsOn").GetString(), StringComparison.Ordinal);
        Assert.Contains("is here already", (await AddAsync(node, TestBundle.Zip(folder))).Body, StringComparison.Ordinal);
    }

    [Fact]
    [Trait("Clause", "S3")]
    public async Task What_is_not_signed_or_not_what_was_signed_is_refused()
    {
        await using var node = await NodeAsync();
        var folder = TestBundle.Write(_folder, "plus", "1", OnnxFile.PlusOne());
        await RefusedAsync(node, TestBundle.Zip(folder), "is not signed; accepted: a signature of li");

        TestBundle.Sign(folder, "wang", _key);
        await RefusedAsync(node, TestBundle.Zip(folder), "signed by 'wang', whom nobody trusts");
        Directory.Delete(Path.Combine(folder, "signatures"), recursive: true);

        using var other = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        TestBundle.Sign(folder, "li", other);
        await RefusedAsync(node, TestBundle.Zip(folder), "signature of 'li' is not of this manifest");

        TestBundle.Sign(folder, "li", _key);
        var model = Path.Combine(folder, "models", "model.onnx");
        var bytes = File.ReadAllBytes(model);
        bytes[^1] ^= 1;
        File.WriteAllBytes(model, bytes);
        await RefusedAsync(node, TestBundle.Zip(folder), "'models/model.onnx' of plus 1 is not what was signed");
        TestBundle.Trust(Path.Combine(_folder, "trust.json"), "li", _key, revoked: true);
        await RefusedAsync(node, TestBundle.Zip(folder), "whose key was revoked");
        Assert.Empty(Directory.GetDirectories(Path.Combine(node.Folder, "ai-infer", "models")));
    }

    [Fact]
    public async Task A_byte_that_changes_on_disk_is_found_when_the_model_is_loaded()
    {
        await using var node = await NodeAsync();
        var folder = TestBundle.Write(_folder, "plus", "1", OnnxFile.PlusOne());
        TestBundle.Sign(folder, "li", _key);
        await AddAsync(node, TestBundle.Zip(folder));
        File.AppendAllText(Path.Combine(node.Folder, "ai-infer", "models", "plus", "1", "models", "model.onnx"), "x");
        var (status, body) = await node.PostAsync("/v2/repository/models/plus/load");
        Assert.Equal(400, status);
        Assert.Contains("is not what was signed", body.GetProperty("error").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_bundle_with_something_missing_or_wrong_is_refused_with_the_reason()
    {
        await using var node = await Node.StartAsync(_ => { });
        var folder = TestBundle.Write(_folder, "plus", "1", OnnxFile.PlusOne());
        var metadata = Path.Combine(folder, "configs", "metadata.json");
        var right = File.ReadAllText(metadata);

        foreach (var (text, reason) in new[]
        {
            ("{", "is not JSON"),
            ("[]", "no object"),
            (right.Replace("\"task\"", "\"tusk\"", StringComparison.Ordinal), "lacks 'task'"),
            (right.Replace("\"version\":\"1\"", "\"version\":\"2\"", StringComparison.Ordinal), "says version 2; the manifest says 1"),
            (right.Replace("\"t0\":{\"type\":\"image\"}", "\"t0\":{\"type\":\"image\"},\"t1\":{}", StringComparison.Ordinal), "describes 2 inputs; the model has 1: x"),
            (right.Replace("\"t0\":{\"type\":\"image\"}", "\"t0\":{\"num_channels\":3}", StringComparison.Ordinal), "has 3 channels"),
        })
        {
            File.WriteAllText(metadata, text);
            TestBundle.Seal(folder, "plus", "1");
            await RefusedAsync(node, TestBundle.Zip(folder), reason);
        }

        File.WriteAllText(metadata, right);
        File.WriteAllText(Path.Combine(folder, "configs", "yizhan.json"), """{"isolation":"vm"}""");
        TestBundle.Seal(folder, "plus", "1");
        await RefusedAsync(node, TestBundle.Zip(folder), "isolation is 'vm'; accepted: process");
        File.WriteAllText(Path.Combine(folder, "configs", "yizhan.json"), SmallSeries.Settings.Replace("segmentation", "classification", StringComparison.Ordinal));
        TestBundle.Seal(folder, "plus", "1");
        await RefusedAsync(node, TestBundle.Zip(folder), "clinical.task is 'classification'; accepted: segmentation");
        File.Delete(Path.Combine(folder, "configs", "yizhan.json"));

        File.Delete(metadata);
        await RefusedAsync(node, TestBundle.Zip(folder), "'configs/yizhan.json' of plus 1 is missing", "'configs/metadata.json' of plus 1 is missing");
        TestBundle.Seal(folder, "plus", "1");
        await RefusedAsync(node, TestBundle.Zip(folder), "has no configs/metadata.json");
        await RefusedAsync(node, "no zip"u8.ToArray(), "no zip archive");
        await RefusedAsync(node, TestBundle.Zip(folder, ("../../evil", [1])), "'../../evil' is no path of a bundle");
    }

    [Fact]
    public async Task Transforms_that_are_not_understood_are_refused_before_any_study_waits_for_them()
    {
        await using var node = await Node.StartAsync(_ => { });
        var folder = TestBundle.Write(
            _folder, "block", "1", OnnxFile.Plus(0, [-1, 1, -1, -1]), SmallSeries.Settings, inference: """{"preprocessing":{"transforms":[{"_target_":"RandFlipd"}]}}""");
        await RefusedAsync(node, TestBundle.Zip(folder), "'RandFlip' is not understood");
    }

    [Fact]
    public async Task A_model_that_does_not_run_does_not_get_in()
    {
        await using var node = await Node.StartAsync(_ => { }, "--ai-infer:workerMemoryMiB=700");
        foreach (var (onnx, reason) in new[]
        {
            (OnnxFile.PlusOne(opset: 999), "pset 999"),
            ("no model"u8.ToArray(), "does not load"),
            (OnnxFile.MemoryBomb(8), "did not pass its trial"),
        })
        {
            var folder = TestBundle.Write(_folder, "bad", "1", onnx);
            await RefusedAsync(node, TestBundle.Zip(folder), reason);
        }

        Assert.Equal("Healthy", await node.Http.GetStringAsync("/healthz", Node.Cancel));
    }

    [Fact]
    public async Task A_model_in_a_process_of_its_own_answers_and_its_crash_costs_one_request()
    {
        await using var node = await Node.StartAsync(
            models => TestBundle.Write(models, "apart", "1", OnnxFile.PlusOne(), """{"isolation":"process"}"""), "--ai-infer:load:0=apart");
        var input = Floats.Tensor("x", [1, 4], 1, 2, 3, 4);
        Assert.Equal([2, 3, 4, 5], Floats.Of((await node.InferBinaryAsync("apart", input)).Single()));
        var engine = (WorkerEngine)node.Services.GetRequiredService<ModelRepository>().Find("apart", null, out _)!.Engine;
        System.Diagnostics.Process.GetProcessById(engine.ProcessId!.Value).Kill();
        Assert.Equal([2, 3, 4, 5], Floats.Of((await node.InferAgainAsync("apart", input)).Single()));
        Assert.Equal("Healthy", await node.Http.GetStringAsync("/healthz", Node.Cancel));
    }

    private Task<Node> NodeAsync() => Node.StartAsync(
        _ => { }, "--ai-infer:allowUnsigned=false", $"--ai-infer:trustPath={TestBundle.Trust(Path.Combine(_folder, "trust.json"), "li", _key)}");

    private static async Task RefusedAsync(Node node, byte[] bundle, params string[] reasons)
    {
        var (status, body) = await AddAsync(node, bundle);
        Assert.Equal(422, status);
        Assert.True(reasons.Any(r => body.Contains(r, StringComparison.Ordinal)), $"{body} holds none of: {string.Join(" | ", reasons)}");
    }

    private static async Task<(int Status, string Body)> AddAsync(Node node, byte[] bundle)
    {
        using var answer = await node.Http.PostAsync("/ai-infer/models", new ByteArrayContent(bundle), Node.Cancel);
        var body = await answer.Content.ReadFromJsonAsync<JsonElement>(Node.Cancel);
        return ((int)answer.StatusCode, body.ValueKind == JsonValueKind.String ? body.GetString()! : body.GetProperty("detail").GetString()!);
    }
}
