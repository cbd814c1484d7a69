using System.Diagnostics;
using Yizhan.Dicom.Network;
using Yizhan.Drills;

namespace Yizhan.Bench;

/// <summary>Retrieval over DICOMweb, beside Orthanc and beside nginx, which sends the same bytes from files.</summary>
internal static class PacsWeb
{
    private const string Instances = "multipart/related; type=\"application/dicom\"; transfer-syntax=*";
    private const string Frames = "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*";
    private const int StudyRepetitions = 5;
    private const int InstanceRepetitions = 200;

    /// <summary>What is asked of both archives.</summary>
    public static IEnumerable<PacsRequest> All(IReadOnlyList<StoreInstance> ct)
    {
        var (study, series) = PacsQueries.Place(ct[0]);
        var instance = $"studies/{study}/series/{series}/instances/{ct[ct.Count / 2].SopInstanceUid}";
        yield return Get("WADO-RS whole study", $"studies/{study}", Instances) with { IsTransfer = true, Repetitions = StudyRepetitions };
        yield return Get("WADO-RS one instance", instance, Instances) with { Repetitions = 200 };
        yield return Get("WADO-RS frame", instance + "/frames/1", Frames) with { Repetitions = 200 };
        yield return Get("WADO-RS rendered JPEG", instance + "/rendered", "image/jpeg") with { Repetitions = 200 };
        yield return Four("WADO-RS frames, 4 at once", instance + "/frames/1", Frames);
        yield return Four("WADO-RS rendered JPEG, 4 at once", instance + "/rendered", "image/jpeg");
    }

    /// <summary>The time until the first byte of a study, and the limit: nginx, which sends the very same bodies from its disk cache.</summary>
    public static async Task<IReadOnlyList<BenchRow>> MeasureAsync(
        PacsServer ours, PacsServer orthanc, IReadOnlyList<StoreInstance> ct, string folder, CancellationToken cancellationToken)
    {
        var (study, series) = PacsQueries.Place(ct[0]);
        var instance = $"studies/{study}/series/{series}/instances/{ct[ct.Count / 2].SopInstanceUid}";
        var rows = new List<BenchRow>();
        var first = await InTurnAsync([ours.Http, orthanc.Http], $"studies/{study}", StudyRepetitions, cancellationToken);
        rows.Add(BenchRow.Less("orthanc, WADO-RS whole study, first byte", first[0].FirstMs, first[1].FirstMs, "ms"));

        var files = Path.Combine(folder, "nginx");
        Directory.CreateDirectory(files);
        await SaveAsync(ours, $"studies/{study}", Path.Combine(files, "study"), cancellationToken);
        await SaveAsync(ours, instance, Path.Combine(files, "instance"), cancellationToken);
        var port = LocalPorts.Free().Edge;
        var settings = Path.Combine(files, "nginx.conf");
        await File.WriteAllTextAsync(settings, $$"""
            daemon off;
            worker_processes 1;
            error_log stderr;
            pid {{files}}/pid;
            events { }
            http {
              access_log off;
              sendfile on;
              tcp_nopush on;
              keepalive_requests 100000;
              client_body_temp_path {{files}}/body; proxy_temp_path {{files}}/proxy; fastcgi_temp_path {{files}}/fastcgi;
              uwsgi_temp_path {{files}}/uwsgi; scgi_temp_path {{files}}/scgi;
              server { listen 127.0.0.1:{{port}}; root {{files}}; }
            }
            """, cancellationToken);
        var (_, _, stop) = await PeerProcess.StartAsync("nginx", ["-c", settings, "-p", files], port, cancellationToken);
        await using (stop)
        {
            using var nginx = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}/") };
            foreach (var (name, path, file, repetitions) in new[]
            {
                ("whole study", $"studies/{study}", "study", StudyRepetitions), ("one instance", instance, "instance", InstanceRepetitions),
            })
            {
                var (mine, limit) = (new List<Transfer>(), new List<Transfer>());
                for (var i = -2; i < repetitions; i++)
                {
                    var (a, b) = (await TransferAsync(ours.Http, path, cancellationToken), await TransferAsync(nginx, file, cancellationToken));
                    if (i >= 0)
                    {
                        mine.Add(a);
                        limit.Add(b);
                    }
                }

                rows.Add(BenchRow.More($"nginx, WADO-RS {name}", Rate(mine), Rate(limit), "MB/s"));
                if (file == "study")
                {
                    var (opened, plain) = await PacsLimit.MeasureAsync(folder, mine[0].Bytes, repetitions, cancellationToken);
                    rows.Add(BenchRow.More("bare loop that reads, opens and sends, WADO-RS whole study", Rate(mine), opened, "MB/s"));
                    rows.Add(BenchRow.More("bare loop that reads and sends, WADO-RS whole study", Rate(mine), plain, "MB/s"));
                }
            }
        }

        return rows;
    }

    private static double Rate(List<Transfer> transfers) => transfers.Sum(t => t.Bytes) / 1e3 / transfers.Sum(t => t.TotalMs);

    private static async Task<Transfer[]> InTurnAsync(HttpClient[] clients, string path, int repetitions, CancellationToken cancellationToken)
    {
        var times = clients.Select(_ => new List<Transfer>()).ToArray();
        for (var i = 0; i < repetitions; i++)
        {
            for (var c = 0; c < clients.Length; c++)
            {
                times[c].Add(await TransferAsync(clients[c], path, cancellationToken));
            }
        }

        return [.. times.Select(t => t.OrderBy(x => x.FirstMs).ElementAt(t.Count / 2))];
    }

    private static async Task<Transfer> TransferAsync(HttpClient client, string path, CancellationToken cancellationToken)
    {
        var from = Stopwatch.GetTimestamp();
        using var response = await OpenAsync(client, path, cancellationToken);
        await using var body = await response.Content.ReadAsStreamAsync(cancellationToken);
        var buffer = new byte[256 * 1024];
        var total = (long)await body.ReadAsync(buffer, cancellationToken);
        var first = Stopwatch.GetElapsedTime(from).TotalMilliseconds;
        while (await body.ReadAsync(buffer, cancellationToken) is > 0 and var read)
        {
            total += read;
        }

        return new Transfer(total, first, Stopwatch.GetElapsedTime(from).TotalMilliseconds);
    }

    private static async Task SaveAsync(PacsServer server, string path, string file, CancellationToken cancellationToken)
    {
        using var response = await OpenAsync(server.Http, path, cancellationToken);
        await using var target = File.Create(file);
        await response.Content.CopyToAsync(target, cancellationToken);
    }

    private static async Task<HttpResponseMessage> OpenAsync(HttpClient client, string path, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(path, UriKind.Relative));
        request.Headers.TryAddWithoutValidation("Accept", Instances);
        var response = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        return response.EnsureSuccessStatusCode();
    }

    private static PacsRequest Get(string name, string path, string accept) => new(name, (server, cancel) => server.GetAsync(path, accept, cancel));

    private static PacsRequest Four(string name, string path, string accept) => new(
        name, async (server, cancel) => (await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => server.GetAsync(path, accept, cancel)))).Sum());

    private readonly record struct Transfer(long Bytes, double FirstMs, double TotalMs);
}
