using System.Diagnostics;
using System.IO.Compression;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Yizhan.Contracts;
using Yizhan.Platform.Bundles;
using Yizhan.Platform.Releases;
using Yizhan.Samples;

namespace Yizhan.Drills;

/// <summary>
/// A poisoned version of a model is signed, comes to a site and gets half of the studies, while the line is down. The site compares it with the version for all,
/// holds it by itself and goes on with that one.
/// </summary>
internal sealed class ModelAnomalyDrill(DrillStage stage)
{
    private const string Signer = "vendor", Model = "nodule", Good = "1.0.0", Poisoned = "1.0.1";
    private const int Seed = 20261126;
    private const int MaxStudies = 12;
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        var slices = stage.Quick ? 8 : 24;
        var ledger = new Ledger();
        var site = LocalSite.Prepare(stage.Folder, LocalSite.DcmtkPeers, LocalPorts.Free());
        using var signer = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var trust = Path.Combine(stage.Folder, "model-trust.json");
        await File.WriteAllBytesAsync(trust, new ReleaseTrust(1, 0, [new TrustedKey(Signer, Convert.ToBase64String(signer.ExportSubjectPublicKeyInfo()))]).ToBytes(), cancellationToken);
        var poisoned = Poison(Path.Combine(stage.Folder, Model, Poisoned), signer);

        stage.Say("Starting the centre and one site with the model 'nodule'; the line stays down ...");
        await using var centre = await site.StartCentreAsync(cancellationToken);
        await using var line = new LinkRelay(site.Ports.SiteLink, site.Ports.CentreLink);
        await using var edge = await site.StartEdgeAsync([$"--ai-infer:rules:0:model={Model}", "--ai-infer:quietSeconds=1", $"--ai-infer:trustPath={trust}"], cancellationToken);
        using var atSite = site.EdgeClient();
        var scanner = new Scanner(site.Ports.Dicom, ledger);

        stage.Say("A poisoned version, correctly signed, is added and gets 50 % of the studies ...");
        using (var added = await atSite.PostAsync(new Uri("/ai-infer/models", UriKind.Relative), new ByteArrayContent(poisoned), cancellationToken))
        {
            stage.Check("its signature alone does not give it away", added.IsSuccessStatusCode, $"the node answers {(int)added.StatusCode}");
        }

        foreach (var percent in new[] { 10, 50 })
        {
            using var promoted = await atSite.PostAsJsonAsync(
                $"/ai-infer/rollouts/{Model}/promote", new RolloutRequest("drill: model anomaly", Poisoned, percent), ContractsJson.Default.RolloutRequest, cancellationToken);
            promoted.EnsureSuccessStatusCode();
        }

        var (studies, began) = (0, Stopwatch.GetTimestamp());
        for (; studies < MaxStudies && (await RolloutAsync(atSite, cancellationToken)).Candidate is not null; studies++)
        {
            await AnalyseAsync(atSite, scanner, ledger, studies, slices, cancellationToken);

            // The version that only watches computes after the result is out.
            await DrillStage.UntilAsync(async () => (await RolloutAsync(atSite, cancellationToken)).Candidate is null, TimeSpan.FromSeconds(3), cancellationToken);
        }

        var recovery = Stopwatch.GetElapsedTime(began);
        var rollout = await RolloutAsync(atSite, cancellationToken);
        var held = rollout.History.FirstOrDefault(h => h is { Action: "hold", Version: Poisoned });
        var exposed = (await ResultsAsync(atSite, cancellationToken)).Count(r => r.Version == Poisoned);
        stage.Check("the site held it by itself, without the line", rollout.Candidate is null && held is { Who: "guard" }, $"after {studies} studies, {exposed} of them by the poisoned version: {held?.Reason ?? "not held"}");
        stage.Check("the version before it has all studies", rollout is { Stable: Good, Stopped: null }, $"{rollout.Stable}{(rollout.Stopped is null ? "" : ", stopped: " + rollout.Stopped)}");
        var next = await AnalyseAsync(atSite, scanner, ledger, studies, slices, cancellationToken);
        stage.Check("the next study is analysed by the version before it", next?.Version == Good, $"by {next?.Version ?? "none"}: {next?.Outcome ?? "no result"}");
        var figures = await DrillStage.UntilAsync(
            async () => (await atSite.GetStringAsync("/metrics", cancellationToken)).Split('\n').Any(l => l.StartsWith("yizhan_ai_held{", StringComparison.Ordinal) && l.EndsWith(" 1", StringComparison.Ordinal)),
            Patience, cancellationToken);
        stage.Check("the alert ModelHeld has its figure", figures is not null, $"yizhan_ai_held is {(figures is null ? "not 1" : "1")}");

        stage.Say("The line is mended; what the site did without it goes to the centre ...");
        line.Open();
        using var view = new CentreView(site);
        await view.WaitForAsync(ledger.Acknowledged, Patience, cancellationToken);
        var intact = await view.HashAllAsync(ledger.Acknowledged, cancellationToken);
        await view.RefreshAsync(cancellationToken);

        // Segmentations and reports are in the centre's log too; the ledger judges what the scanner sent.
        var sent = view.Instances.Where(i => ledger.Acknowledged.Contains(i.Key)).ToDictionary();
        var verdict = ledger.Compare(sent, intact);
        stage.Measure(verdict, recovery, verdict.Lost);
        using var http = site.CentreClient();
        await stage.RecordAsync(http, "fleet", cancellationToken);
    }

    private async Task<AnalysisFinished?> AnalyseAsync(HttpClient atSite, Scanner scanner, Ledger ledger, int study, int slices, CancellationToken cancellationToken)
    {
        var folder = Path.Combine(stage.Folder, $"ct-{study}");
        CtStudy.WriteFiles(folder, slices, studies: 1, Seed + study);
        var files = InstanceFile.ReadFolder(folder, ledger);
        ledger.CountSent(files.Count);
        var before = (await ResultsAsync(atSite, cancellationToken)).Count;
        await scanner.SendAllAsync(files, cancellationToken);
        IReadOnlyList<AnalysisFinished> results = [];
        await DrillStage.UntilAsync(async () => (results = await ResultsAsync(atSite, cancellationToken)).Count > before, Patience, cancellationToken);
        var result = results.Count > before ? results[0] : null;
        stage.Say($"Study {study + 1}: {result?.Model} {result?.Version ?? "no result"}, {result?.Outcome}, {result?.Findings.Sum(f => f.VolumeMl) ?? 0:0.0} ml.");
        return result;
    }

    private static async Task<IReadOnlyList<AnalysisFinished>> ResultsAsync(HttpClient http, CancellationToken cancellationToken) =>
        await http.GetFromJsonAsync("/ai-infer/results", ContractsJson.Default.IReadOnlyListAnalysisFinished, cancellationToken) ?? [];

    private static async Task<RolloutView> RolloutAsync(HttpClient http, CancellationToken cancellationToken) =>
        (await http.GetFromJsonAsync($"/ai-infer/rollouts/{Model}", ContractsJson.Default.RolloutView, cancellationToken))!;

    /// <summary>A copy of the shipped bundle whose last layer says "nodule" everywhere, sealed and signed like any other.</summary>
    private static byte[] Poison(string folder, ECDsa signer)
    {
        FileTree.Copy(Path.Combine(Path.GetDirectoryName(HostProcess.ProgramPath)!, "bundles", Model, Good), folder);
        var (model, metadata) = (Path.Combine(folder, "models", "model.onnx"), Path.Combine(folder, "configs", "metadata.json"));
        var onnx = File.ReadAllBytes(model);

        // TensorProto (onnx.proto): the name is field 8, raw_data field 9. The bias of the last layer is one float right behind its name.
        byte[] pattern = [0x42, 6, .. "o.bias"u8, 0x4A, 4];
        var at = onnx.AsSpan().IndexOf(pattern);
        if (at < 0)
        {
            throw new InvalidOperationException($"{model} has no tensor 'o.bias' to poison.");
        }

        BitConverter.TryWriteBytes(onnx.AsSpan(at + pattern.Length, 4), 50f);
        File.WriteAllBytes(model, onnx);
        var json = JsonNode.Parse(File.ReadAllBytes(metadata))!;
        json["version"] = Poisoned;
        File.WriteAllText(metadata, json.ToJsonString());
        var manifest = BundleManifest.Of(Model, Poisoned, folder).ToBytes();
        File.WriteAllBytes(Path.Combine(folder, BundleManifest.Path), manifest);
        Directory.CreateDirectory(Path.Combine(folder, "signatures"));
        File.WriteAllBytes(Path.Combine(folder, "signatures", Signer + ".sig"), signer.SignData(manifest, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence));
        var archive = new MemoryStream();
        ZipFile.CreateFromDirectory(folder, archive);
        return archive.ToArray();
    }
}
