using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Runtime.InteropServices;
using System.Text.Json;
using Grpc.Core.Interceptors;
using Grpc.Net.Client;
using Microsoft.ML.OnnxRuntime;
using Yizhan.OpenInference.Grpc;

namespace Yizhan.Bench;

/// <summary>
/// <c>yizhan bench infer</c>: requests through REST with binary tensors and through gRPC, beside ONNX Runtime called in a loop (the limit) and beside <c>onnxruntime-node</c> behind
/// <c>node:http</c>, which gets the same requests of the same clients. Service, peer and clients share the machine, so what the clients need is in the figures and not in the loop's.
/// </summary>
internal static class InferBench
{
    private static readonly int[] Clients = [1, 8, 64];

    private static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(1);

    private static readonly InferCase[] Cases =
    [
        new("body-part", "input", [1, 1, 64, 64], Clients), new("nodule", "image", [1, 1, 96, 96], Clients),

        // As long as a model of 20 ms: what is added should be lost in it.
        new("nodule", "image", [1, 1, 256, 256], [1, 8]),
    ];

    public static Command Create()
    {
        var seconds = new Option<double>("--seconds") { Description = "Time of each measurement.", DefaultValueFactory = _ => 3 };
        var studies = new Option<int>("--studies") { Description = "Studies of the measurement from a study stored to its segmentation; 0 leaves it out.", DefaultValueFactory = _ => 20 };
        var json = new Option<bool>("--json") { Description = "Print only the JSON object." };
        var command = new Command("infer", """
            Inference over REST and gRPC, with and without batches, beside a bare ONNX Runtime loop and onnxruntime-node; cold start, memory of each model, and a study
            stored to its segmentation.

            Examples:
              yizhan bench infer
              yizhan bench infer --seconds 1 --studies 5 --json | tail -n 1 | jq '.rows[] | select(.ratio < 0.95)'
            """) { seconds, studies, json };
        command.SetAction((parsed, cancellationToken) =>
            RunAsync(TimeSpan.FromSeconds(parsed.GetValue(seconds)), parsed.GetValue(studies), parsed.GetValue(json), cancellationToken));
        return command;
    }

    private static async Task<int> RunAsync(TimeSpan time, int studies, bool json, CancellationToken cancellationToken)
    {
        void Say(string text) => (json ? Console.Error : Console.Out).WriteLine(text);

        var folder = Directory.CreateTempSubdirectory("yizhan-bench-infer-").FullName;
        var rows = new List<BenchRow>();
        try
        {
            if (InferServer.WhyNoNode is { } why)
            {
                Say($"Without onnxruntime-node: {why}");
            }

            await ServersAsync(Path.Combine(folder, "servers"), time, rows, Say, cancellationToken);
            if (studies > 0)
            {
                await InferStudyBench.RunAsync(Path.Combine(folder, "studies"), studies, rows, Say, cancellationToken);
            }
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }

        BenchTable.Print("infer", rows, json);
        return 0;
    }

    private static async Task ServersAsync(string folder, TimeSpan time, List<BenchRow> rows, Action<string> say, CancellationToken cancellationToken)
    {
        await ColdStartAsync(folder, rows, say, cancellationToken);
        await using var ours = await InferServer.StartOursAsync(folder, cancellationToken);
        await using var node = InferServer.WhyNoNode is null ? await InferServer.StartNodeAsync(cancellationToken) : null;
        using var channel = GrpcChannel.ForAddress(ours.GrpcUrl!);
        var grpc = new GRPCInferenceService.GRPCInferenceServiceClient(channel.Intercept(metadata =>
        {
            metadata.Add("authorization", $"{ours.Http.DefaultRequestHeaders.Authorization}");
            return metadata;
        }));
        foreach (var model in Cases.Select(c => c.Model).Distinct())
        {
            var first = Cases.First(c => c.Model == model);
            var here = await MemoryAsync(ours, first, cancellationToken);
            if (node is not null)
            {
                rows.Add(BenchRow.Less($"onnxruntime-node; memory of model {model}", here, await MemoryAsync(node, first, cancellationToken), "MiB"));
            }

            say(string.Create(CultureInfo.InvariantCulture, $"{model}: {here:0.0} MiB more resident memory with the model; its file has {new FileInfo(first.File).Length / 1048576.0:0.00} MiB"));
            await ours.LoadAsync(model + InferServer.Single, cancellationToken);
        }

        foreach (var one in Cases)
        {
            var bare = Bare(one, time);
            say(string.Create(CultureInfo.InvariantCulture, $"{one}: the bare loop does {bare.Rate:0} a second, p50 {bare.P50:0} µs, p99 {bare.P99:0} µs"));
            if (node is not null)
            {
                var loop = (await node.Http.GetFromJsonAsync<Figures>($"loop/{one.Model}/{string.Join(',', one.Shape)}/{(int)time.TotalMilliseconds}", JsonSerializerOptions.Web, cancellationToken))!;
                rows.Add(BenchRow.More($"onnxruntime-node in a loop; {one}, our bare loop", bare.Rate, loop.Rate, "inferences/s"));
            }

            foreach (var clients in one.Clients)
            {
                var rest = await LoadAsync(ours, clients, time, () => RestAsync(ours.Http, one.Model, one, cancellationToken));
                var single = await LoadAsync(ours, clients, time, () => RestAsync(ours.Http, one.Model + InferServer.Single, one, cancellationToken));
                var request = one.Message();
                var rpc = await LoadAsync(ours, clients, time, async () => await grpc.ModelInferAsync(request, cancellationToken: cancellationToken));
                rows.Add(BenchRow.More($"bare loop; {one}, REST binary, {clients} clients", rest.Rate, bare.Rate, "inferences/s"));
                rows.Add(BenchRow.More($"bare loop; {one}, REST binary, {clients} clients, without batches", single.Rate, bare.Rate, "inferences/s"));
                rows.Add(BenchRow.More($"bare loop; {one}, gRPC, {clients} clients", rpc.Rate, bare.Rate, "inferences/s"));
                rows.Add(BenchRow.Less($"bare loop; {one}, REST binary, {clients} clients, processor time of an inference", rest.CpuUs, bare.CpuUs, "µs"));
                rows.Add(BenchRow.Less($"bare loop; {one}, REST binary, {clients} clients, without batches, processor time of an inference", single.CpuUs, bare.CpuUs, "µs"));
                rows.Add(BenchRow.Less($"bare loop; {one}, gRPC, {clients} clients, processor time of an inference", rpc.CpuUs, bare.CpuUs, "µs"));
                if (clients == 1)
                {
                    // 16 kB: 0.5 ms at most; a model of 20 ms: a tenth at most.
                    var goal = Math.Max(500, bare.P50 / 10);
                    rows.Add(BenchRow.Less($"goal; {one}, REST binary, p50 beyond that of the bare loop", Math.Max(1, rest.P50 - bare.P50), goal, "µs"));
                    rows.Add(BenchRow.Less($"goal; {one}, gRPC, p50 beyond that of the bare loop", Math.Max(1, rpc.P50 - bare.P50), goal, "µs"));
                    rows.Add(BenchRow.Less($"bare loop p99; {one}, REST binary, p99", rest.P99, bare.P99, "µs"));
                }

                if (node is not null)
                {
                    var peer = await LoadAsync(node, clients, time, () => RestAsync(node.Http, one.Model, one, cancellationToken));
                    rows.Add(BenchRow.More($"onnxruntime-node behind node:http; {one}, REST binary, {clients} clients", rest.Rate, peer.Rate, "inferences/s"));
                    rows.Add(BenchRow.Less($"onnxruntime-node behind node:http; {one}, REST binary, {clients} clients, p99", rest.P99, peer.P99, "µs"));
                    rows.Add(BenchRow.Less($"onnxruntime-node behind node:http; {one}, REST binary, {clients} clients, processor time of an inference", rest.CpuUs, peer.CpuUs, "µs"));
                }
            }
        }
    }

    /// <summary>From the start of a process to the first answer of a model; the best of three, as the disk is warm then for both.</summary>
    private static async Task ColdStartAsync(string folder, List<BenchRow> rows, Action<string> say, CancellationToken cancellationToken)
    {
        async Task<double> OnceAsync(Func<Task<InferServer>> start)
        {
            var from = Stopwatch.GetTimestamp();
            await using var server = await start();
            await server.LoadAsync(Cases[0].Model, cancellationToken);
            await RestAsync(server.Http, Cases[0].Model, Cases[0], cancellationToken);
            return Stopwatch.GetElapsedTime(from).TotalMilliseconds;
        }

        async Task<double> BestAsync(Func<Task<InferServer>> start)
        {
            var best = double.MaxValue;
            for (var i = 0; i < 3; i++)
            {
                best = Math.Min(best, await OnceAsync(start));
            }

            return best;
        }

        var ours = await BestAsync(() => InferServer.StartOursAsync(Path.Combine(folder, "cold"), cancellationToken));
        say(string.Create(CultureInfo.InvariantCulture, $"From the start of the service's process to the first answer: {ours:0} ms"));
        if (InferServer.WhyNoNode is null)
        {
            rows.Add(BenchRow.Less("onnxruntime-node behind node:http; process started to first answer", ours, await BestAsync(() => InferServer.StartNodeAsync(cancellationToken)), "ms"));
        }
    }

    /// <summary>What a server's resident memory grows by when it loads a model and has answered 50 requests.</summary>
    private static async Task<double> MemoryAsync(InferServer server, InferCase one, CancellationToken cancellationToken)
    {
        var before = server.ResidentMiB;
        await server.LoadAsync(one.Model, cancellationToken);
        for (var i = 0; i < 50; i++)
        {
            await RestAsync(server.Http, one.Model, one, cancellationToken);
        }

        return Math.Max(0.1, server.ResidentMiB - before);
    }

    /// <summary>The limit: one session with the service's own settings, called in a loop by one thread.</summary>
    internal static Figures Bare(InferCase one, TimeSpan time)
    {
        using var options = new Microsoft.ML.OnnxRuntime.SessionOptions { IntraOpNumThreads = 1, InterOpNumThreads = 1 };
        using var session = new InferenceSession(one.File, options);
        using var run = new RunOptions();
        using var value = OrtValue.CreateTensorValueFromMemory(new float[one.Values], one.Shape);
        var times = new List<double>();
        var (cpu, watch) = (Environment.CpuUsage.TotalTime, Stopwatch.StartNew());
        while (watch.Elapsed < time)
        {
            var from = Stopwatch.GetTimestamp();
            using var results = session.Run(run, session.InputNames, [value], session.OutputNames);
            times.Add(Stopwatch.GetElapsedTime(from).TotalMicroseconds);
        }

        return Of(times, watch.Elapsed, Environment.CpuUsage.TotalTime - cpu);
    }

    private static async Task<Figures> LoadAsync(InferServer server, int clients, TimeSpan time, Func<Task> request)
    {
        // What is compiled and grown at the first requests is not measured: of ours, of the peer's, or of the clients here.
        var warm = Stopwatch.StartNew();
        await Task.WhenAll(Enumerable.Range(0, clients).Select(async _ =>
        {
            while (warm.Elapsed < WarmUp)
            {
                await request();
            }
        }));
        var (cpu, watch) = (server.Cpu, Stopwatch.StartNew());
        var all = await Task.WhenAll(Enumerable.Range(0, clients).Select(_ => Task.Run(async () =>
        {
            var times = new List<double>();
            while (watch.Elapsed < time)
            {
                var from = Stopwatch.GetTimestamp();
                await request();
                times.Add(Stopwatch.GetElapsedTime(from).TotalMicroseconds);
            }

            return times;
        })));
        return Of([.. all.SelectMany(t => t)], watch.Elapsed, server.Cpu - cpu);
    }

    private static async Task RestAsync(HttpClient http, string model, InferCase one, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, $"v2/models/{model}/infer") { Content = new ByteArrayContent(one.Body) };
        request.Headers.Add("Inference-Header-Content-Length", one.HeaderLength);
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
        using var answer = await http.SendAsync(request, cancellationToken);
        answer.EnsureSuccessStatusCode();
        _ = await answer.Content.ReadAsByteArrayAsync(cancellationToken);
    }

    private static Figures Of(List<double> times, TimeSpan elapsed, TimeSpan cpu)
    {
        times.Sort();
        return new Figures(times.Count / elapsed.TotalSeconds, times[times.Count / 2], times[(int)(times.Count * 0.99)], cpu.TotalMicroseconds / times.Count);
    }
}

/// <summary>Inferences a second, microseconds of one, and microseconds of the server's processor for one.</summary>
internal sealed record Figures(double Rate, double P50, double P99, double CpuUs = 0);

/// <summary>A model and what it is asked.</summary>
internal sealed class InferCase
{
    public InferCase(string model, string input, long[] shape, int[] clients)
    {
        (Model, Input, Shape, Clients) = (model, input, shape, clients);
        var json = JsonSerializer.SerializeToUtf8Bytes(new
        {
            parameters = new { binary_data_output = true },
            inputs = new[] { new { name = input, shape, datatype = "FP32", parameters = new { binary_data_size = Values * 4 } } },
        });
        HeaderLength = json.Length.ToString(CultureInfo.InvariantCulture);
        Body = [.. json, .. new byte[Values * 4]];
    }

    public string Model { get; }

    public string Input { get; }

    public long[] Shape { get; }

    public int[] Clients { get; }

    public int Values => (int)Shape.Aggregate(1L, (a, b) => a * b);

    /// <summary>Body of a REST request: JSON, then the tensor.</summary>
    public byte[] Body { get; }

    public string HeaderLength { get; }

    /// <summary>The network, of the bundle that ships.</summary>
    public string File => Path.Combine(AppContext.BaseDirectory, "bundles", Model, "1.0.0", "models", "model.onnx");

    public ModelInferRequest Message() => new()
    {
        ModelName = Model,
        Inputs = { new ModelInferRequest.Types.InferInputTensor { Name = Input, Datatype = "FP32", Shape = { Shape } } },
        RawInputContents = { Google.Protobuf.ByteString.CopyFrom(MemoryMarshal.AsBytes(new float[Values].AsSpan())) },
    };

    public override string ToString() => $"{Model} {Shape[2]}×{Shape[3]}";
}
