using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json.Nodes;
using Yizhan.Hl7v2;
using Yizhan.PacsGw.Tests.Dimse;

namespace Yizhan.EmrAdapter.Tests;

/// <summary>HL7 v2 in: what is answered, when, and what it became.</summary>
[Trait("Clause", "S5")]
public sealed class ListenerTests
{
    [Fact]
    public async Task An_accepted_order_is_in_the_log_when_its_answer_comes_and_a_retransmission_is_the_same_order()
    {
        await using var node = await Node.StartAsync();
        using var sender = await MllpSender.ConnectAsync(node.MllpPort);
        var answer = await sender.SendAsync(Messages.Order("O1"));
        var order = Assert.Single(await node.OrdersAsync());
        Assert.Equal(("AA", "M1", "ACK^O01^ACK"), (answer["MSA-1"], answer["MSA-2"], answer["MSH-9"]));
        Assert.Equal(("HIS/O1", "NEW", "P1", "HOSP", "Zhang^Wei", "24627-2"), (order.OrderId, order.Action, order.Patient.PatientId, order.Patient.Issuer, order.Patient.Name, order.Code));

        // Another MSH-7, as engines write it that send again.
        Assert.Equal("AA", (await sender.SendAsync(Messages.Order("O1").Replace("|A|20261101080000|", "|A|20261101090000|", StringComparison.Ordinal)))["MSA-1"]);
        Assert.Single(await node.OrdersAsync());
        var step = Assert.Single(await node.WorklistAsync());
        Assert.Equal(("CT", "O1", "CT Chest", "19800201", "M"), (step.Modality, step.AccessionNumber, step.RequestedProcedureDescription, step.PatientBirthDate, step.PatientSex));

        // MSH-10 counts again after a restart of the engine: another order under a used number is another order.
        Assert.Equal("AA", (await sender.SendAsync(Messages.Order("O2")))["MSA-1"]);
        Assert.Equal(2, (await node.WorklistAsync()).Count);
    }

    [Theory]
    [InlineData("a long one")]
    [InlineData("P\\X00\\1")]
    public async Task A_patients_identifier_that_the_log_cannot_keep_is_refused_with_the_reason_and_the_next_message_is_taken(string patient)
    {
        await using var node = await Node.StartAsync();
        using var sender = await MllpSender.ConnectAsync(node.MllpPort);
        var refused = await sender.SendAsync(Messages.Order("O1", patient: patient == "a long one" ? new string('9', 201) : patient));
        Assert.Equal("AE", refused["MSA-1"]);
        Assert.Equal("AA", (await sender.SendAsync(Messages.Order("O2", id: "M2")))["MSA-1"]);
        Assert.Equal("HIS/O2", Assert.Single(await node.OrdersAsync()).OrderId);
    }

    [Theory]
    [InlineData("", "", true, "AA")]
    [InlineData("", "", false, "AE")]
    [InlineData("AL", "NE", true, "CA")]
    [InlineData("AL", "AL", true, "CA AA")]
    [InlineData("AL", "AL", false, "CE")]
    [InlineData("NE", "AL", false, "AE")]
    [InlineData("ER", "SU", true, "AA")]
    [InlineData("ER", "NE", false, "CE")]
    public async Task Answers_come_in_the_mode_that_the_sender_asks_for(string accept, string application, bool isGood, string expected)
    {
        await using var node = await Node.StartAsync();
        using var sender = await MllpSender.ConnectAsync(node.MllpPort);
        var message = Messages.Order("O1", msh15: accept, msh16: application, control: isGood ? "NW" : "ZZ");
        await sender.WriteAsync(MllpFraming.Frame(Hl7Message.Parse(message).ToBytes()));
        await sender.WriteAsync(MllpFraming.Frame(Hl7Message.Parse(Messages.Order("LAST", id: "LAST")).ToBytes()));
        var answers = new List<string>();
        while (await sender.ReadAsync() is { } answer && answer["MSA-2"] != "LAST")
        {
            answers.Add(answer["MSA-1"]);
        }

        Assert.Equal(expected, string.Join(' ', answers));
    }

    [Theory]
    [InlineData("ORU^R01 is not taken", "AR", "200", "MSH|^~\\&|HIS|H|Y|A|20261101||ORU^R01|M1|P|2.5\rPID|1||P1||A^B\r")]
    [InlineData("ADT^A17 is not taken", "AR", "201", "MSH|^~\\&|HIS|H|Y|A|20261101||ADT^A17|M1|P|2.5\rPID|1||P1||A^B\r")]
    [InlineData("MSH-11 is 'T'", "AR", "202", "MSH|^~\\&|HIS|H|Y|A|20261101||ADT^A08|M1|T|2.5\rPID|1||P1||A^B\r")]
    [InlineData("MSH-12 is '3'", "AR", "203", "MSH|^~\\&|HIS|H|Y|A|20261101||ADT^A08|M1|P|3\rPID|1||P1||A^B\r")]
    [InlineData("MSH-10 is empty", "AE", "101", "MSH|^~\\&|HIS|H|Y|A|20261101||ADT^A08||P|2.5\rPID|1||P1||A^B\r")]
    [InlineData("There is no PID segment", "AE", "100", "MSH|^~\\&|HIS|H|Y|A|20261101||ORM^O01|M1|P|2.5\rORC|NW|1\r")]
    [InlineData("PID-3 is empty", "AE", "101", "MSH|^~\\&|HIS|H|Y|A|20261101||ORM^O01|M1|P|2.5\rPID|1||||A^B\rORC|NW|1\rOBR|1|1||X\r")]
    [InlineData("PID-5 is empty", "AE", "101", "MSH|^~\\&|HIS|H|Y|A|20261101||ORM^O01|M1|P|2.5\rPID|1||P1\rORC|NW|1\rOBR|1|1||X\r")]
    [InlineData("0 ORC segments", "AE", "100", "MSH|^~\\&|HIS|H|Y|A|20261101||ORM^O01|M1|P|2.5\rPID|1||P1||A^B\r")]
    [InlineData("ORC-1 is 'ZZ'", "AE", "103", "MSH|^~\\&|HIS|H|Y|A|20261101||ORM^O01|M1|P|2.5\rPID|1||P1||A^B\rORC|ZZ|1\rOBR|1|1||X\r")]
    [InlineData("neither a placer order number", "AE", "101", "MSH|^~\\&|HIS|H|Y|A|20261101||ORM^O01|M1|P|2.5\rPID|1||P1||A^B\rORC|NW\rOBR|1|||X\r")]
    [InlineData("OBR-4 is empty", "AE", "101", "MSH|^~\\&|HIS|H|Y|A|20261101||ORM^O01|M1|P|2.5\rPID|1||P1||A^B\rORC|NW|1\rOBR|1|1\r")]
    [InlineData("MRG-1 is empty", "AE", "101", "MSH|^~\\&|HIS|H|Y|A|20261101||ADT^A40|M1|P|2.5\rPID|1||P1||A^B\r")]
    [InlineData("a patient cannot be merged with himself", "AE", "205", "MSH|^~\\&|HIS|H|Y|A|20261101||ADT^A40|M1|P|2.5\rPID|1||P1||A^B\rMRG|P1\r")]
    public async Task What_is_refused_is_told_why(string reason, string code, string error, string message)
    {
        await using var node = await Node.StartAsync();
        using var sender = await MllpSender.ConnectAsync(node.MllpPort);
        var answer = await sender.SendAsync(message);
        Assert.Equal((code, error), (answer["MSA-1"], answer["ERR-3.1"]));
        Assert.Contains(reason, answer["ERR-8"], StringComparison.Ordinal);
        Assert.Empty(await node.OrdersAsync());

        // The connection goes on, and the preview says the same.
        Assert.Equal("AA", (await sender.SendAsync(Messages.Order("O1")))["MSA-1"]);
        using var preview = await node.Http.PostAsync("preview", new ByteArrayContent(Encoding.UTF8.GetBytes(message)), Node.Cancel);
        Assert.Contains(reason, (string)JsonNode.Parse(await preview.Content.ReadAsStringAsync(Node.Cancel))!["reason"]!, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_full_log_is_told_to_the_sender_and_nothing_is_taken()
    {
        await using var node = await Node.StartAsync("--storage:quotaBytes=16777216");
        using var sender = await MllpSender.ConnectAsync(node.MllpPort);
        var big = new string('x', 900_000);
        Hl7Message answer;
        var taken = 0;
        while ((answer = await sender.SendAsync(Messages.Order($"O{taken}", id: $"M{taken}", text: big)))["MSA-1"] == "AA")
        {
            Assert.True(++taken < 100, "The log is never full.");
        }

        Assert.True(taken > 0);
        Assert.Equal(("AR", "207"), (answer["MSA-1"], answer["ERR-3.1"]));
        Assert.Contains("no room", answer["ERR-8"], StringComparison.Ordinal);
        Assert.Equal(taken, (await node.OrdersAsync()).Count);
    }

    [Theory]
    [InlineData("UNICODE UTF-8", "张^三")]
    [InlineData("GB 18030-2000", "张^三")]
    [InlineData("GB 18030-2000", "寍^丱")] // Second bytes are '|' and '^'.
    [InlineData("GB 18030-2000", "𠀀^乗")] // Four bytes; a second byte '\'.
    public async Task Chinese_names_come_and_go_in_both_character_sets(string set, string name)
    {
        await using var engine = new MllpEngine();
        await using var node = await Node.StartAsync(Node.Hl7System(engine.Port, 0, "emr", $"characterSet={set}"));
        using var sender = await MllpSender.ConnectAsync(node.MllpPort);
        var bytes = Hl7Message.Parse(Encoding.UTF8.GetBytes(Messages.Order("O1", name: name, text: "胸部平扫"))).With("MSH-18", set).ToString();
        var encoded = set == "UNICODE UTF-8" ? Encoding.UTF8.GetBytes(bytes) : CodePagesEncodingProvider.Instance.GetEncoding("gb18030")!.GetBytes(bytes);
        var answer = await sender.SendAsync(encoded);
        Assert.Equal(("AA", set), (answer["MSA-1"], answer["MSH-18"]));
        var step = Assert.Single(await node.WorklistAsync());
        Assert.Equal((name, "胸部平扫"), (step.PatientName, step.RequestedProcedureDescription));

        await node.ReportAsync(Node.Report("R1", "final", "O1", "两肺未见异常。"));
        await Wait.UntilAsync(() => engine.Received.Count == 1);
        var result = engine.Received[0];
        Assert.Equal((set, name.Replace('^', ' '), "两肺未见异常。"), (result["MSH-18"], $"{result["PID-5.1"]} {result["PID-5.2"]}", result["OBX[2]-5"]));
    }

    [Fact]
    public async Task A_message_without_end_block_is_waited_for_so_long_and_not_longer()
    {
        await using var node = await Node.StartAsync("--emr-adapter:hl7:messageTimeoutMs=200");
        using var sender = await MllpSender.ConnectAsync(node.MllpPort);
        Assert.Equal("AA", (await sender.SendAsync(Messages.Order("O1")))["MSA-1"]);
        await sender.WriteAsync([0x0B, .. "MSH|^~\\&|HIS"u8]);
        Assert.Null(await sender.ReadAsync());
    }

    [Fact]
    public async Task Connections_that_say_nothing_keep_no_sender_out()
    {
        await using var node = await Node.StartAsync("--emr-adapter:hl7:maxConnections=4");
        using var before = await MllpSender.ConnectAsync(node.MllpPort);
        Assert.Equal("AA", (await before.SendAsync(Messages.Order("O1")))["MSA-1"]);
        var silent = new List<TcpClient>();
        try
        {
            for (var i = 0; i < 40; i++)
            {
                silent.Add(new TcpClient(new IPEndPoint(IPAddress.Parse("127.0.0.9"), 0)));
                await silent[^1].ConnectAsync(IPAddress.Loopback, node.MllpPort, Node.Cancel);
            }

            using var sender = await MllpSender.ConnectAsync(node.MllpPort);
            Assert.Equal("AA", (await sender.SendAsync(Messages.Order("O2")))["MSA-1"]);
            Assert.Equal("AA", (await before.SendAsync(Messages.Order("O3")))["MSA-1"]);
        }
        finally
        {
            silent.ForEach(client => client.Dispose());
        }
    }

    [Fact]
    public async Task A_segment_of_a_hundred_megabytes_is_refused_before_it_is_here()
    {
        await using var node = await Node.StartAsync("--emr-adapter:hl7:maxMessageBytes=1048576");
        using var sender = await MllpSender.ConnectAsync(node.MllpPort);
        await sender.WriteAsync([0x0B, .. Encoding.ASCII.GetBytes(Messages.Order("O1") + "ZZZ|")]);
        var piece = new byte[1024 * 1024];
        piece.AsSpan().Fill((byte)'x');
        var sent = 0;
        try
        {
            for (; sent < 100; sent++)
            {
                await sender.WriteAsync(piece);
            }
        }
        catch (IOException)
        {
            // The listener has closed: what more comes is not read.
        }

        Assert.InRange(sent, 1, 99);
        Assert.Empty(await node.OrdersAsync());
        using var next = await MllpSender.ConnectAsync(node.MllpPort);
        Assert.Equal("AA", (await next.SendAsync(Messages.Order("O2")))["MSA-1"]);
    }

    [Fact]
    public async Task A_message_that_is_too_long_is_answered_with_the_reason()
    {
        await using var node = await Node.StartAsync("--emr-adapter:hl7:maxMessageBytes=1024");
        using var sender = await MllpSender.ConnectAsync(node.MllpPort);
        await sender.WriteAsync(MllpFraming.Frame(Encoding.ASCII.GetBytes(Messages.Order("O1") + "ZZZ|" + new string('x', 4096))));
        var answer = await sender.ReadAsync();
        Assert.Equal(("AE", "M1"), (answer!["MSA-1"], answer["MSA-2"]));
        Assert.Contains("more than 1024 bytes", answer["ERR-8"], StringComparison.Ordinal);
        Assert.Null(await sender.ReadAsync());
    }

    [Fact]
    public async Task Frames_of_the_corpus_are_found_and_answered_whatever_pieces_they_come_in()
    {
        var cases = JsonNode.Parse(File.ReadAllText(Corpus.Path("mllp/frames.json")))!.AsArray();
        Assert.NotEmpty(cases);
        foreach (var test in cases)
        {
            await using var node = await Node.StartAsync();
            using var sender = await MllpSender.ConnectAsync(node.MllpPort);
            foreach (var chunk in test!["chunks_b64"]!.AsArray())
            {
                await sender.WriteAsync(Convert.FromBase64String((string)chunk!));
                await sender.Stream.FlushAsync(Node.Cancel);
            }

            sender.Stream.Socket.Shutdown(SocketShutdown.Send);
            var answers = 0;
            while (await sender.ReadAsync() is { } answer)
            {
                answers++;

                // One of them is about a name only and orders nothing.
                Assert.True(answer["MSA-1"] is "AA" || answer["ERR-8"].Contains("0 ORC segments", StringComparison.Ordinal), $"{test["name"]}: {answer["MSA-1"]} {answer["ERR-8"]}");
            }

            Assert.True((int)test["messages"]! == answers, $"{test["name"]}: {answers} answers");
        }
    }

    [Fact]
    public async Task Every_message_of_the_corpus_is_taken_or_refused_with_the_reason()
    {
        await using var node = await Node.StartAsync();
        var (taken, refused) = (0, 0);
        foreach (var name in Corpus.Messages())
        {
            using var sender = await MllpSender.ConnectAsync(node.MllpPort);
            var bytes = File.ReadAllBytes(Corpus.Path(name));
            await sender.WriteAsync(MllpFraming.Frame(bytes));
            await sender.WriteAsync(MllpFraming.Frame(Hl7Message.Parse(Messages.Order("LAST", id: "LAST")).ToBytes()));
            Hl7Message? answer;
            while ((answer = await sender.ReadAsync()) is not null && answer["MSA-2"] != "LAST")
            {
                var code = answer["MSA-1"];
                Assert.True(code is "AA" or "AE" or "AR" or "CA" or "CE" or "CR", $"{name}: {code}");
                Assert.True(code is "AA" or "CA" || answer["ERR-8"].Length > 0, $"{name}: {code} without a reason");
                _ = code is "AA" or "CA" ? taken++ : refused++;
            }

            // Whatever it was, the next message is taken: an end block inside of a hostile one must not cost the connection.
            Assert.True(answer is not null, $"{name}: the connection was closed.");
        }

        Assert.True(taken >= 25, $"{taken} were taken, {refused} refused.");
        Assert.NotEmpty(await node.WorklistAsync());
    }

    [Fact]
    public async Task Over_tls_a_sender_without_our_certificate_is_not_heard()
    {
        using var authority = new TestAuthority();
        using var stranger = new TestAuthority();
        var ours = authority.Issue("listener");
        await using var node = await Node.StartAsync(
            $"--emr-adapter:hl7:certificateFile={ours.File}", $"--emr-adapter:hl7:keyFile={ours.KeyFile}", $"--emr-adapter:hl7:rootFile={authority.RootFile}");
        Assert.Equal("AA", await TryAsync(authority.Issue("his")));
        Assert.Null(await TryAsync(stranger.Issue("stranger")));
        Assert.Single(await node.OrdersAsync());

        async Task<string?> TryAsync(TestCertificate certificate)
        {
            using var client = new TcpClient();
            await client.ConnectAsync("127.0.0.1", node.MllpPort, Node.Cancel);
            using var pem = X509Certificate2.CreateFromPemFile(certificate.File, certificate.KeyFile);
            using var shown = X509CertificateLoader.LoadPkcs12(pem.Export(X509ContentType.Pkcs12), null);
            await using var tls = new SslStream(client.GetStream());
            try
            {
                await tls.AuthenticateAsClientAsync(
                    new SslClientAuthenticationOptions { TargetHost = "127.0.0.1", ClientCertificates = [shown], RemoteCertificateValidationCallback = (_, sent, _, _) => sent?.Subject == "CN=listener" }, Node.Cancel);
                await tls.WriteAsync(MllpFraming.Frame(Hl7Message.Parse(Messages.Order("O1")).ToBytes()), Node.Cancel);
                var buffer = new byte[65536];
                var read = await tls.ReadAsync(buffer, Node.Cancel);
                return read == 0 ? null : Hl7Message.Parse(buffer.AsSpan(1, read - 3))["MSA-1"];
            }
            catch (Exception e) when (e is IOException or System.Security.Authentication.AuthenticationException)
            {
                return null;
            }
        }
    }
}

/// <summary>The EMR corpus beside the checkout.</summary>
internal static class Corpus
{
    private static readonly string Root = Find();

    public static string Path(string name)
    {
        var path = System.IO.Path.Combine(Root, name);
        Assert.SkipUnless(File.Exists(path) || Directory.Exists(path), $"The test data '../shared/corpus/emr/given/{name}' is not beside the repository.");
        return path;
    }

    public static IEnumerable<string> Messages() => ((string[])["hl7v2", "hl7v2-hapi", "hl7v2-pixpdq", "hl7v2-bad"])
        .SelectMany(folder => Directory.GetFiles(Path(folder))).Select(file => System.IO.Path.GetRelativePath(Root, file)).Order(StringComparer.Ordinal);

    private static string Find()
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(System.IO.Path.Combine(directory.FullName, "global.json")))
        {
            directory = directory.Parent ?? throw new DirectoryNotFoundException("No global.json above the test.");
        }

        return System.IO.Path.Combine(directory.Parent!.FullName, "shared/corpus/emr/given");
    }
}
