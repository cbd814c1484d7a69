using System.Buffers;
using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Hl7.Fhir.Model;
using Hl7.Fhir.Serialization;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.EmrAdapter;
using Yizhan.EmrAdapter.Fhir;
using Yizhan.EmrAdapter.Hl7;
using Yizhan.EmrAdapter.Outbox;
using Yizhan.EmrAdapter.Terms;
using Yizhan.Hl7v2;
using Yizhan.Platform;
using Yizhan.Storage;
using Task = System.Threading.Tasks.Task;

namespace Yizhan.Bench;

/// <summary>
/// <c>yizhan bench emr</c>: HL7 v2 orders read, mapped, made durable and acknowledged over one connection, beside node-hl7-server, which keeps nothing; messages only read, beside
/// node-hl7-client; FHIR R4 mapped, beside Firely's library, which reads and writes the same JSON and maps nothing.
/// </summary>
internal static class EmrBench
{
    private const string Peers = "services/emr-adapter-service/tests/peers";
    private const int Distinct = 1000;

    public static Command Create()
    {
        var messages = new Option<int>("--messages") { Description = "Messages over the connection, each an order of its own.", DefaultValueFactory = _ => 20_000 };
        var seconds = new Option<double>("--seconds") { Description = "Time of each measurement in memory.", DefaultValueFactory = _ => 3 };
        var json = new Option<bool>("--json") { Description = "Print only the JSON object." };
        var command = new Command("emr", "HL7 v2 over MLLP and FHIR mapping, beside node-hl7-server, node-hl7-client and Firely's library.") { messages, seconds, json };
        command.SetAction((parsed, cancellationToken) =>
            RunAsync(parsed.GetValue(messages), TimeSpan.FromSeconds(parsed.GetValue(seconds)), parsed.GetValue(json), cancellationToken));
        return command;
    }

    private static async Task<int> RunAsync(int count, TimeSpan time, bool json, CancellationToken cancellationToken)
    {
        if (!Directory.Exists(Path.Combine(Peers, "node_modules")) || !File.Exists("/usr/bin/node"))
        {
            await Console.Error.WriteLineAsync($"The peers from npm are not installed: apt-get install nodejs npm, then npm ci in {Peers}.");
            return 1;
        }

        var folder = Directory.CreateTempSubdirectory("yizhan-bench-emr-").FullName;
        var rows = new List<BenchRow>();
        try
        {
            await ParseAsync(folder, time, rows, cancellationToken);
            await MllpAsync(folder, count, json ? Console.Error : Console.Out, rows, cancellationToken);
            Fhir(time, rows);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }

        BenchTable.Print("emr", rows, json);
        return 0;
    }

    /// <summary>An order as a hospital's system sends it: 8 segments, a Chinese name, UTF-8.</summary>
    private static byte[] Order(int number) => Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"""
        MSH|^~\&|HIS|COUNTY|YIZHAN|SITE|20261101093000+0800||ORM^O01^ORM_O01|M{number}|P|2.5.1|||AL|NE||UNICODE UTF-8
        PID|1||P{number % 1000}^^^COUNTY^MR~11010519491231002X^^^^NNCHN||李^娜^^^^^L^I~Li^Na^^^^^L^A||19491231|F|||城关镇^^利川^湖北^445400
        PV1|1|O|OPD^201^1||||1001^王^芳|||||||||||V{number}
        ORC|NW|O{number}|||SC||^^^20261101100000^^S||20261101093000+0800|||1001^王^芳
        TQ1|1||||||20261101100000||S
        OBR|1|O{number}||24627-2^CT Chest^LN|||20261101093000||||||咳嗽三周，低热。|||1001^王^芳||A{number}|||||||CT|||^^^20261101100000^^S||||R05^咳嗽^I10
        DG1|1||R05^咳嗽^I10
        ZDS|1.2.826.0.1.3680043.10.1.{number}^^Application^DICOM
        """).ReplaceLineEndings("\r"));

    private static async Task ParseAsync(string folder, TimeSpan time, List<BenchRow> rows, CancellationToken cancellationToken)
    {
        var messages = Enumerable.Range(1, Distinct).Select(Order).ToArray();
        var ours = Rate(time, n =>
        {
            var message = Hl7Message.Parse(messages[n % Distinct]);
            return message["PID-3.1"].Length + message["PID-5.1"].Length + message["ORC-2"].Length + message["OBR-4.1"].Length;
        });
        var file = Path.Combine(folder, "messages.json");
        await File.WriteAllTextAsync(file, JsonSerializer.Serialize(messages.Select(Encoding.UTF8.GetString)), cancellationToken);
        var peer = await NodeAsync(Path.Combine(Peers, "hl7-parse.mjs"), cancellationToken, file, $"{(int)time.TotalMilliseconds}");
        rows.Add(BenchRow.More("node-hl7-client; an order read from bytes, four values taken", ours, peer, "messages/s"));
        rows.Add(BenchRow.More("goal 50000: an order read from bytes, four values taken", ours, 50_000, "messages/s"));
    }

    private static async Task MllpAsync(string folder, int count, TextWriter say, List<BenchRow> rows, CancellationToken cancellationToken)
    {
        await using var app = new ServiceHost(
            [$"--node:dataFolder={folder}", "--node:siteId=bench", "--web:url=http://127.0.0.1:0", "--log:level=error", "--storage:freeFloorBytes=0", "--emr-adapter:hl7:port=0"]).Add<EmrAdapterModule>().Build();
        await app.StartAsync(cancellationToken);
        var (log, follower) = (app.Services.GetRequiredService<IEventLog>(), app.Services.GetRequiredService<EmrFollower>());
        var port = app.Services.GetRequiredService<MllpListener>().EndPoint!.Port;
        var peerPort = FreePort();
        var (_, _, stop) = await PeerProcess.StartAsync("/usr/bin/node", [Path.Combine(Peers, "hl7-server.mjs"), $"{peerPort}", "quiet"], peerPort, cancellationToken);
        await using (stop)
        {
            await SendAsync(port, 1, 200, 32, cancellationToken);
            await SendAsync(peerPort, 1, 200, 1, cancellationToken);
            // node-hl7-server answers AE to messages that come together in one read, so its one figure is beside both of ours.
            var peer = await SendAsync(peerPort, 1000, count / 4, 1, cancellationToken);
            var next = 1000;
            foreach (var (window, share) in new[] { (1, count / 4), (64, count) })
            {
                await follower.ReachedNowAsync(cancellationToken);
                var began = Stopwatch.GetTimestamp();
                var ours = await SendAsync(port, next, share, window, cancellationToken);
                await follower.ReachedNowAsync(cancellationToken);
                var folded = share / Stopwatch.GetElapsedTime(began).TotalSeconds;
                rows.Add(BenchRow.More($"node-hl7-server (keeps nothing, one on its way), one connection, {window} of ours on their way", ours, peer, "messages/s"));
                rows.Add(BenchRow.More($"goal 2000: durable, mapped and acknowledged, one connection, {window} on their way", ours, 2000, "messages/s"));
                say.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{window} on their way: {ours:0} messages/s durable and acknowledged, {folded:0} orders/s until the worklist has them"));
                next += share;
            }
        }

        await app.StopAsync(cancellationToken);
    }

    /// <summary>Sends orders over one connection with so many unanswered at a time; every answer must be AA or CA.</summary>
    private static async Task<double> SendAsync(int port, int first, int count, int window, CancellationToken cancellationToken)
    {
        using var client = new TcpClient { NoDelay = true };
        await client.ConnectAsync(IPAddress.Loopback, port, cancellationToken);
        var stream = client.GetStream();
        var frames = Enumerable.Range(first, count).Select(n => MllpFraming.Frame(Order(n))).ToArray();
        var began = Stopwatch.GetTimestamp();
        var (sent, answered) = (0, 0);
        var received = new byte[256 * 1024];
        var filled = 0;
        while (answered < count)
        {
            if (sent < count && sent - answered <= window / 2)
            {
                var burst = frames.AsSpan(sent, Math.Min(window - (sent - answered), count - sent)).ToArray();
                sent += burst.Length;
                await stream.WriteAsync(burst.Length == 1 ? burst[0] : [.. burst.SelectMany(b => b)], cancellationToken);
            }

            var read = await stream.ReadAsync(received.AsMemory(filled), cancellationToken);
            if (read == 0)
            {
                throw new IOException($"The connection ended after {answered} of {count} answers.");
            }

            filled += read;
            var rest = new ReadOnlySequence<byte>(received, 0, filled);
            while (MllpFraming.TryRead(ref rest, received.Length, out var answer))
            {
                ReadOnlySpan<byte> said = answer.ToArray();
                if (said.IndexOf("MSA|AA|"u8) < 0 && said.IndexOf("MSA|CA|"u8) < 0)
                {
                    throw new IOException($"An order was answered with {Encoding.UTF8.GetString(answer)}.");
                }

                answered++;
            }

            var left = rest.ToArray();
            left.CopyTo(received, 0);
            filled = left.Length;
        }

        return count / Stopwatch.GetElapsedTime(began).TotalSeconds;
    }

    private static void Fhir(TimeSpan time, List<BenchRow> rows)
    {
        var terms = new TermMaps(Options.Create(new EmrAdapterOptions()));
        var requests = Enumerable.Range(1, Distinct).Select(n => Encoding.UTF8.GetBytes(Request(n))).ToArray();
        var patient = new EmrPatient("P1", "urn:oid:1.2.3", "p1", [new EmrIdentifier("P1", "urn:oid:1.2.3", "MR")], "Li^Na=李^娜", "19491231", "F");
        var read = Rate(time, n => FhirOrders.Order(JsonNode.Parse(requests[n % Distinct])!.AsObject(), patient, "emr", terms, TimeSpan.FromHours(8)).OrderId.Length);
        var reader = new FhirJsonDeserializer(new DeserializerSettings().UsingMode(DeserializationMode.Recoverable));
        var texts = requests.Select(Encoding.UTF8.GetString).ToArray();
        var firelyRead = Rate(time, n => reader.Deserialize<ServiceRequest>(texts[n % Distinct])!.Id!.Length);
        rows.Add(BenchRow.More("Firely reads only; a ServiceRequest read and mapped to an order", read, firelyRead, "resources/s"));
        rows.Add(BenchRow.More("goal 10000: a ServiceRequest read and mapped to an order", read, 10_000, "resources/s"));

        var order = new ImagingOrder("emr/1", "emr", "NEW", 1, "PL1", "ACC1", "", "1", patient, "24627-2", "http://loinc.org", "CT Chest", "", "", "20261101", "", "", "", "R", "", "");
        var report = new ReportIssued("R1", "REPORT", "final", "1.2.3", "ACC1", "", "CT chest", "两肺未见异常。纵隔未见肿大淋巴结。", "Dr Li", 1_790_000_000_000);
        var message = new OutboxMessage(
            1, "emr", "f", "ABC", "P1", 0, null, new Outgoing("report", "f", "R1", "s", patient, order) { StudyInstanceUid = "1.2.3", AccessionNumber = "ACC1", Report = report });
        var written = Rate(time, _ => Encoding.UTF8.GetBytes(FhirResults.DiagnosticReport(message, "Patient/p1", "ServiceRequest/1", null).ToJsonString()).Length);
        var resource = reader.Deserialize<DiagnosticReport>(FhirResults.DiagnosticReport(message, "Patient/p1", "ServiceRequest/1", null).ToJsonString());
        var writer = new FhirJsonSerializer();
        var firelyWritten = Rate(time, _ => Encoding.UTF8.GetBytes(writer.SerializeToString(resource)).Length);
        rows.Add(BenchRow.More("Firely writes only; a report mapped to a DiagnosticReport and written", written, firelyWritten, "resources/s"));
        rows.Add(BenchRow.More("goal 10000: a report mapped to a DiagnosticReport and written", written, 10_000, "resources/s"));
    }

    private static string Request(int n) => $$$"""
        {"resourceType":"ServiceRequest","id":"r{{{n}}}","meta":{"lastUpdated":"2026-11-01T01:30:00.000Z"},"status":"active","intent":"order","priority":"stat",
         "identifier":[{"type":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v2-0203","code":"ACSN"}]},"value":"A{{{n}}}"},{"type":{"coding":[{"code":"PLAC"}]},"value":"O{{{n}}}"}],
         "category":[{"coding":[{"system":"http://snomed.info/sct","code":"363679005","display":"Imaging"}]}],
         "code":{"coding":[{"system":"http://loinc.org","code":"24627-2","display":"CT Chest"}],"text":"胸部平扫"},
         "subject":{"reference":"Patient/p1","display":"李娜"},"occurrenceDateTime":"2026-11-01T09:30:00+08:00","authoredOn":"2026-11-01T01:30:00Z",
         "requester":{"reference":"Practitioner/1001","display":"王芳"},"reasonCode":[{"coding":[{"system":"http://hl7.org/fhir/sid/icd-10","code":"R05"}],"text":"咳嗽"}],
         "note":[{"text":"咳嗽三周，低热。"}]}
        """;

    /// <summary>Calls for so long, after a warm-up, and returns the calls in a second. The sum keeps the calls from being thrown out.</summary>
    private static double Rate(TimeSpan time, Func<int, int> call)
    {
        var sum = 0L;
        for (var i = 0; i < 2 * Distinct; i++)
        {
            sum += call(i);
        }

        var calls = 0;
        var began = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(began) < time)
        {
            for (var i = 0; i < 100; i++)
            {
                sum += call(calls++);
            }
        }

        return sum > 0 ? calls / Stopwatch.GetElapsedTime(began).TotalSeconds : throw new UnreachableException("Nothing was read.");
    }

    /// <summary>Runs a script and gives the one number that it prints.</summary>
    internal static async Task<double> NodeAsync(string script, CancellationToken cancellationToken, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo("/usr/bin/node", [script, .. arguments]) { RedirectStandardOutput = true })!;
        var output = await process.StandardOutput.ReadToEndAsync(cancellationToken);
        await process.WaitForExitAsync(cancellationToken);
        return double.Parse(output, CultureInfo.InvariantCulture);
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
