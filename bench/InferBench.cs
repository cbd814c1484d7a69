using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Headers;
using System.Runtime.InteropServices;
using System.Text.Json;
using Grpc.Core.Interceptors;
using Grpc.Net.Client;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.ML.OnnxRuntime;
using Yizhan.AiInfer;
using Yizhan.AiInfer.Protocol;
using Yizhan.OpenInference.Grpc;
using Yizhan.Platform;

namespace Yizhan.Bench;

/// <summary>
/// <c>yizhan bench infer</c>: requests through REST with binary tensors and through gRPC, beside ONNX Runtime called in a loop in the same process: the limit. Clients and
/// service share the machine, so what the clients need is in our figures and not in the loop's.
/// </summary>
internal static class InferBench
{
    private static readonly int[] Clients = [1, 8, 64];

    private static readonly (string Model, string Input, long[] Shape)[] Models = [("body-part", "input", [1, 1, 64, 64]), ("nodule", "image", [1, 1, 96, 96])];

    public static Command Create()
    {
        var seconds = new Option<double>("--seconds") { Description = "Time of each measurement.", DefaultValueFactory = _ => 3 };
        var json = new Option<bool>("--json") { Description = "Print only the JSON object." };
        var command = new Command("infer", "Inference over REST and gRPC, with and without batches, beside a bare ONNX Runtime loop.") { seconds, json };
        command.SetAction((parsed, cancellationToken) => RunAsync(TimeSpan.FromSeconds(parsed.GetValue(seconds)), parsed.GetValue(json), cancellationToken));
        return command;
    }

    private static async Task<int> RunAsync(TimeSpan time, bool json, CancellationToken cancellationToken)
    {
        void Say(string text) => (json ? Console.Error : Console.Out).WriteLine(text);

        var folder = Directory.CreateTempSubdirectory("yizhan-bench-infer-").FullName;
        var rows = new List<BenchRow>();
        try
        {
            var started = Stopwatch.GetTimestamp();
            await using var app = new ServiceHost(
                [$"--node:dataFolder={folder}", "--web:url=http://127.0.0.1:0", "--log:level=error", "--ai-infer:grpcEndPoint=127.0.0.1:0", "--storage:freeFloorBytes=0"]).Add<AiInferModule>().Build();
            await app.StartAsync(cancellationToken);
            var token = app.Services.GetRequiredService<Platform.Identity.LocalOperator>().Token();
            using var http = new HttpClient { BaseAddress = new Uri(app.Urls.Single()), DefaultRequestHeaders = { Authorization = new("Bearer", token) } };
            using var channel = GrpcChannel.ForAddress($"http://{app.Services.GetRequiredService<GrpcListener>().EndPoint}");
            var grpc = new GRPCInferenceService.GRPCInferenceServiceClient(channel.Intercept(metadata =>
            {
                metadata.Add("authorization", $"Bearer {token}");
                return metadata;
            }));
            foreach (var (model, input, shape) in Models)
            {
                var before = Environment.WorkingSet;
                using (var loaded = await http.PostAsync($"/v2/repository/models/{model}/load", null, cancellationToken))
                {
                    loaded.EnsureSuccessStatusCode();
                }

                var body = Body(input, shape, out var headerLength);
                await RestAsync(http, model, body, headerLength, cancellationToken);
                Say(string.Create(CultureInfo.InvariantCulture, $"{model}: first answer {Stopwatch.GetElapsedTime(started).TotalMilliseconds:0} ms after the {(rows.Count == 0 ? "process was asked to start the service" : "model was asked for")}, {(Environment.WorkingSet - before) / 1048576.0:0} MiB more"));
                var data = new float[shape.Aggregate(1L, (a, b) => a * b)];
                var bare = Bare(model, shape, data, time);
                foreach (var clients in Clients)
                {
                    var rest = await LoadAsync(clients, time, () => RestAsync(http, model, body, headerLength, cancellationToken));
                    var request = Message(model, input, shape, data);
                    var rpc = await LoadAsync(clients, time, async () => await grpc.ModelInferAsync(request, cancellationToken: cancellationToken));
                    rows.Add(BenchRow.More($"bare loop; {model}, REST binary, {clients} clients", rest.Rate, bare.Rate, "inferences/s"));
                    rows.Add(BenchRow.More($"bare loop; {model}, gRPC, {clients} clients", rpc.Rate, bare.Rate, "inferences/s"));
                    rows.Add(BenchRow.Less($"bare loop p50; {model}, REST binary, {clients} clients, p50", rest.P50, bare.P50, "µs"));
                    rows.Add(BenchRow.Less($"bare loop p99; {model}, REST binary, {clients} clients, p99", rest.P99, bare.P99, "µs"));
                    rows.Add(BenchRow.Less($"bare loop p50; {model}, gRPC, {clients} clients, p50", rpc.P50, bare.P50, "µs"));
                }

                started = Stopwatch.GetTimestamp();
            }

            await app.StopAsync(cancellationToken);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }

        BenchTable.Print("infer", rows, json);
        return 0;
    }

    /// <summary>The limit: one session with the service's own settings, called in a loop by one thread.</summary>
    private static Figures Bare(string model, long[] shape, float[] data, TimeSpan time)
    {
        using var options = new Microsoft.ML.OnnxRuntime.SessionOptions { IntraOpNumThreads = 1, InterOpNumThreads = 1 };
        var path = Directory.GetFiles(Path.Combine(AppContext.BaseDirectory, "bundles", model), "model.onnx", SearchOption.AllDirectories).Single();
        using var session = new InferenceSession(path, options);
        using var run = new RunOptions();
        using var value = OrtValue.CreateTensorValueFromMemory(data, shape);
        var times = new List<double>();
        var watch = Stopwatch.StartNew();
        while (watch.Elapsed < time)
        {
            var from = Stopwatch.GetTimestamp();
            using var results = session.Run(run, session.InputNames, [value], session.OutputNames);
            times.Add(Stopwatch.GetElapsedTime(from).TotalMicroseconds);
        }

        return Of(times, watch.Elapsed);
    }

    private static async Task<Figures> LoadAsync(int clients, TimeSpan time, Func<Task> request)
    {
        var watch = Stopwatch.StartNew();
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
        return Of([.. all.SelectMany(t => t)], watch.Elapsed);
    }

    private static async Task RestAsync(HttpClient http, string model, byte[] body, int headerLength, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, $"/v2/models/{model}/infer") { Content = new ByteArrayContent(body) };
        request.Headers.Add("Inference-Header-Content-Length", headerLength.ToString(CultureInfo.InvariantCulture));
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/octet-stream");
        using var answer = await http.SendAsync(request, cancellationToken);
        answer.EnsureSuccessStatusCode();
        _ = await answer.Content.ReadAsByteArrayAsync(cancellationToken);
    }

    private static byte[] Body(string input, long[] shape, out int headerLength)
    {
        var bytes = (int)shape.Aggregate(4L, (a, b) => a * b);
        var json = JsonSerializer.SerializeToUtf8Bytes(new
        {
            parameters = new { binary_data_output = true },
            inputs = new[] { new { name = input, shape, datatype = "FP32", parameters = new { binary_data_size = bytes } } },
        });
        headerLength = json.Length;
        return [.. json, .. new byte[bytes]];
    }

    private static ModelInferRequest Message(string model, string input, long[] shape, float[] data) => new()
    {
        ModelName = model,
        Inputs = { new ModelInferRequest.Types.InferInputTensor { Name = input, Datatype = "FP32", Shape = { shape } } },
        RawInputContents = { Google.Protobuf.ByteString.CopyFrom(MemoryMarshal.AsBytes(data.AsSpan())) },
    };

    private static Figures Of(List<double> times, TimeSpan elapsed)
    {
        times.Sort();
        return new Figures(times.Count / elapsed.TotalSeconds, times[times.Count / 2], times[(int)(times.Count * 0.99)]);
    }

    private readonly record struct Figures(double Rate, double P50, double P99);
}
