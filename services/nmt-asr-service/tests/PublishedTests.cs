using System.IO.Compression;
using Yizhan.Platform.Bundles;

namespace Yizhan.NmtAsr.Tests;

/// <summary>The programs of the images start a pack's process without anything of the machine.</summary>
[Trait("Clause", "S4")]
public sealed class PublishedTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-asr-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("NmtAsr")]
    [InlineData("Host", "edge", "--pacs-gw:acceptAssociations=false", "--ai-infer:grpcEndPoint=127.0.0.1:0")]
    public async Task A_program_published_with_its_runtime_loads_a_pack_of_sherpa_onnx(string project, params string[] arguments)
    {
        Assert.SkipUnless(SherpaTests.Settings.Problem is null, SherpaTests.Settings.Problem ?? "");
        await using var program = await PublishedProgram.StartAsync(
            project, Path.Combine(_folder, "data"), [.. arguments, "--nmt-asr:allowUnsigned=true", $"--nmt-asr:sherpaFolder={SherpaTests.Settings.Library}"]);
        var pack = Path.Combine(_folder, "pack");
        Relabelled.Write(Directory.CreateDirectory(Path.Combine(pack, "models")).FullName);
        Directory.CreateDirectory(Path.Combine(pack, "configs"));
        var cancel = TestContext.Current.CancellationToken;
        await File.WriteAllTextAsync(
            Path.Combine(pack, "configs", "speech.json"), """{"task":"asr","engine":"sherpa-onnx","model":"omnilingual-ctc","licence":"for this test","description":"d","dialects":["cmn"]}""", cancel);
        await File.WriteAllBytesAsync(Path.Combine(pack, BundleManifest.Path), BundleManifest.Of("site-zh", "1.0", pack).ToBytes(), cancel);
        var zip = new MemoryStream();
        await ZipFile.CreateFromDirectoryAsync(pack, zip, CompressionLevel.Fastest, includeBaseDirectory: false, cancel);
        using (var added = await program.Http.PostAsync("/nmt-asr/packs", new ByteArrayContent(zip.ToArray()), cancel))
        {
            Assert.True(added.IsSuccessStatusCode, await added.Content.ReadAsStringAsync(cancel));
        }

        using var answer = await program.Http.PostAsync(
            "/nmt-asr/transcripts?dialect=cmn&format=txt&pack=site-zh",
            new ByteArrayContent(await File.ReadAllBytesAsync(Path.Combine(Given.Root, "models", "training", "mandarin", "recordings", "clean-012.wav"), cancel)), cancel);
        Assert.Equal("liuzhouhoufucha", (await answer.Content.ReadAsStringAsync(cancel)).Trim());
    }
}
