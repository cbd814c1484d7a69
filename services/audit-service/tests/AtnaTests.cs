using System.Buffers;
using System.Globalization;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Audit.Atna;
using Yizhan.Audit.Index;
using Yizhan.Platform.Certificates;
using Yizhan.Syslog;

namespace Yizhan.Audit.Tests;

public sealed class AtnaTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Every_given_audit_message_of_either_spelling_is_read_and_what_we_write_reads_the_same()
    {
        var files = Directory.GetFiles(Corpus.Folder("atna"), "*.xml");
        Assert.True(files.Length >= 11);
        foreach (var file in files)
        {
            var facts = AtnaMessage.Read(File.ReadAllText(file));
            Assert.NotEmpty(facts.Type);
            Assert.NotEmpty(facts.Agents);
            var again = AtnaMessage.Read(AtnaMessage.Write(facts, "s1"));
            Assert.Equal((facts.Type, facts.Action, facts.Outcome, facts.RecordedMs, facts.Source), (again.Type, again.Action, again.Outcome, again.RecordedMs, again.Source));
            Assert.Equal(facts.Agents, again.Agents);
            Assert.Equal(facts.Subtypes, again.Subtypes);
            Assert.Subset(again.Patients.ToHashSet(), facts.Patients.ToHashSet());
        }

        var feed = AtnaMessage.Read(File.ReadAllText(files.Single(f => f.EndsWith("/pixfeed.xml", StringComparison.Ordinal))));
        Assert.Equal(("110110", "C", "ITI-8"), (feed.Type, feed.Action, feed.Subtypes[0]));
        Assert.Contains("7627199", feed.Patients);
        Assert.Contains("root|dest", feed.Agents);
    }

    [Fact]
    public void The_given_stream_gives_the_same_messages_however_it_is_cut()
    {
        var bytes = File.ReadAllBytes(Path.Combine(Corpus.Folder("atna"), "rfc5425-stream.bin"));
        var whole = new ReadOnlySequence<byte>(bytes);
        var messages = new List<byte[]>();
        while (SyslogFrames.TryRead(ref whole, 65536, out var message))
        {
            messages.Add(message.ToArray());
        }

        Assert.True(whole.IsEmpty);
        Assert.True(messages.Count >= 4, $"{messages.Count} messages");
        Assert.Equal(bytes, messages.SelectMany(m => SyslogFrames.Frame(m)));
        Assert.All(messages, m => Assert.Equal(SyslogMessage.AuditMsgId, SyslogMessage.Parse(m).MsgId));
        for (var cut = 0; cut < bytes.Length; cut += 101)
        {
            var part = new ReadOnlySequence<byte>(bytes.AsMemory(0, cut));
            var count = 0;
            while (SyslogFrames.TryRead(ref part, 65536, out var message))
            {
                Assert.Equal(messages[count++], message.ToArray());
            }
        }
    }

    [Theory]
    [InlineData("x <85>1", "digits and a space")]
    [InlineData("0 <85>1", "digits and a space")]
    [InlineData("012 <85>1", "digits and a space")]
    [InlineData("1234567890 <85>1", "digits and a space")]
    [InlineData("-5 <85>1", "digits and a space")]
    [InlineData("70000 <85>1", "70000 bytes was announced; accepted are up to 65536")]
    public void A_frame_without_a_right_length_ends_the_stream(string frame, string expected)
    {
        var buffer = new ReadOnlySequence<byte>(Encoding.ASCII.GetBytes(frame));
        Assert.Contains(expected, Assert.Throws<FormatException>(() => SyslogFrames.TryRead(ref buffer, 65536, out _)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("<85>1 2026-01-01T00:00:00Z host app 1 IHE+RFC-3881 - \uFEFF<a/>", "<a/>")]
    [InlineData("<85>1 - - - - - - <a/>", "<a/>")]
    [InlineData("<13>1 - h a p m [x@1 a=\"]\" b=\"\\\"\"][y@1] <a/>", "<a/>")]
    [InlineData("<13>1 - h a p m -", "")]
    public void A_syslog_header_is_read(string text, string expected) => Assert.Equal(expected, SyslogMessage.Parse(Encoding.UTF8.GetBytes(text)).Text);

    [Theory]
    [InlineData("")]
    [InlineData("85>1 - - - - - - x")]
    [InlineData("<192>1 - - - - - - x")]
    [InlineData("<85>2 - - - - - - x")]
    [InlineData("<85>1 - - -")]
    [InlineData("<85>1 - - - - - x y")]
    [InlineData("<85>1 - - - - - [x y")]
    public void Another_syslog_header_is_refused(string text) => Assert.Throws<FormatException>(() => SyslogMessage.Parse(Encoding.UTF8.GetBytes(text)));

    [Theory]
    [InlineData("", "not XML")]
    [InlineData("plain text", "not XML")]
    [InlineData("<Other/>", "root element is not AuditMessage")]
    [InlineData("<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><AuditMessage>&b;</AuditMessage>", "not XML")]
    [InlineData("<AuditMessage/>", "EventIdentification is missing")]
    [InlineData("<AuditMessage><EventIdentification/></AuditMessage>", "EventID has no")]
    public void What_is_no_audit_message_is_refused(string xml, string expected) =>
        Assert.Contains(expected, Assert.Throws<FormatException>(() => AtnaMessage.Read(xml)).Message, StringComparison.Ordinal);

    [Fact]
    public async Task Messages_over_TLS_are_durable_in_order_of_any_size_up_to_the_bound_and_a_retry_is_one()
    {
        await using var setup = await SetUpAsync();
        var (node, ca) = (setup.Node, setup.Ca);
        var large = Message(1, new string('影', 60_000));
        Assert.True(large.Length > 65_536);
        for (var attempt = 0; attempt < 2; attempt++)
        {
            await using var tls = await ConnectAsync(node, ca.IssueDevice("modality").ToCertificate());
            foreach (var chunk in Message(0, "").Concat(large).Concat(Message(2, "")).Chunk(10_007))
            {
                await tls.WriteAsync(chunk, Cancel);
                await tls.FlushAsync(Cancel);
            }

            await tls.ShutdownAsync();
            await Wait.UntilAsync(() => node.Consumer.Log?.Current.Checkpoint.Size >= 3, Cancel);
        }

        var found = node.Consumer.Log!.Find(new AuditQuery([(Field.Patient, "p1")], null, null, 10));
        Assert.Contains("影影", Assert.Single(found).Payload!.ToMessage()!.Original, StringComparison.Ordinal);
        Assert.Equal(3, (await node.Events.ReadAsync(0, 100, Cancel)).Count);
    }

    [Theory]
    [InlineData("300000 <85>1 - - - - - - x", "accepted are up to 262144")]
    [InlineData("500 <85>1 - - - - - - half", "ended within a message")]
    [InlineData("nonsense", "digits and a space")]
    [InlineData("13 <85>1 garbage", "header of the syslog message")]
    [InlineData("33 <85>1 - - - - IHE+RFC-3881 - <a/>", "root element is not AuditMessage")]
    public async Task What_is_no_audit_message_becomes_a_record_with_the_hash_of_its_bytes(string stream, string expected)
    {
        await using var setup = await SetUpAsync();
        await using (var tls = await ConnectAsync(setup.Node, setup.Ca.IssueDevice("modality").ToCertificate()))
        {
            await tls.WriteAsync(Encoding.ASCII.GetBytes(stream), Cancel);
            await tls.ShutdownAsync();
            await Wait.UntilAsync(() => setup.Node.Consumer.Log?.Current.Checkpoint.Size == 1, Cancel);
        }

        var record = Assert.Single(setup.Node.Consumer.Log!.Find(new AuditQuery([(Field.Type, "110113")], null, null, 10)));
        Assert.Contains(expected, record.Facts!.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_sender_without_a_certificate_of_ours_is_not_heard()
    {
        await using var setup = await SetUpAsync();
        using var strangers = EmbeddedCa.Open(_folder["strangers"], new FakeTimeProvider(DateTimeOffset.FromUnixTimeSeconds(TimeProvider.System.GetUtcNow().ToUnixTimeSeconds())));
        foreach (var certificate in new[] { null, strangers.IssueDevice("modality").ToCertificate(), setup.Ca.IssueServer("127.0.0.1").ToCertificate() })
        {
            await Assert.ThrowsAnyAsync<Exception>(async () =>
            {
                await using var tls = await ConnectAsync(setup.Node, certificate);

                // TLS 1.3 tells a client only after its first bytes that it was refused.
                await tls.WriteAsync(Message(0, ""), Cancel);
                Assert.Equal(0, await tls.ReadAsync(new byte[1], Cancel));
                throw new AuthenticationException("closed");
            });
        }

        Assert.Empty(await setup.Node.Events.ReadAsync(0, 10, Cancel));
    }

    internal static byte[] Message(int number, string text)
    {
        var facts = new AuditFacts("110103", ["t"], "R", 0, 1_700_000_000_000 + number, ["dr-li"], ["192.0.2.1"], [$"p{number}"], ["study/1.2." + number.ToString(CultureInfo.InvariantCulture)], "ct", "s9", null);
        var xml = AtnaMessage.Write(facts, "s9").Replace("</AuditMessage>", $"<!--{text}--></AuditMessage>", StringComparison.Ordinal);
        return SyslogFrames.Frame(new SyslogMessage(85, "2026-03-01T00:00:00Z", "ct", "test", "1", SyslogMessage.AuditMsgId, xml).ToBytes());
    }

    private async Task<AtnaNode> SetUpAsync() => await AtnaNode.StartAsync(_folder, Cancel);

    private static async Task<SslStream> ConnectAsync(Node node, X509Certificate2? certificate)
    {
        var server = node.Service<Microsoft.Extensions.Options.IOptions<AuditOptions>>().Value.Syslog;
        var trust = CertificateTrust.FromFile(server.RootFile!, TimeProvider.System);
        var client = new TcpClient();
        await client.ConnectAsync(node.Service<AtnaListener>().EndPoint!, Cancel);
        var tls = new SslStream(client.GetStream(), false, (_, sent, _, errors) => trust.CheckServer(sent, errors) == CertificateVerdict.Valid);
        using var pkcs12 = certificate is null ? null : X509CertificateLoader.LoadPkcs12(certificate.Export(X509ContentType.Pkcs12), null);
        await tls.AuthenticateAsClientAsync(new SslClientAuthenticationOptions { TargetHost = "127.0.0.1", ClientCertificates = pkcs12 is null ? [] : [pkcs12] }, Cancel);
        return tls;
    }
}

/// <summary>A node with its syslog listener, and the authority that its senders have certificates of.</summary>
internal sealed class AtnaNode : IAsyncDisposable
{
    public required Node Node { get; init; }

    public required EmbeddedCa Ca { get; init; }

    public static async Task<AtnaNode> StartAsync(TemporaryFolder folder, CancellationToken cancellationToken, params string[] settings)
    {
        var ca = EmbeddedCa.Open(folder["ca"], TimeProvider.System);
        ca.IssueServer("127.0.0.1", "localhost").WriteTo(folder["server.crt"], folder["server.key"]);
        ca.IssueDevice("centre").WriteTo(folder["client.crt"], folder["client.key"]);
        var node = await Node.StartAsync(
            folder["node"], cancellationToken,
            ["--audit:syslog:port=0", $"--audit:syslog:certificateFile={folder["server.crt"]}", $"--audit:syslog:keyFile={folder["server.key"]}", $"--audit:syslog:rootFile={ca.RootFile}", .. settings]);
        await Wait.UntilAsync(() => node.Service<AtnaListener>().EndPoint is not null, cancellationToken);
        return new AtnaNode { Node = node, Ca = ca };
    }

    public async ValueTask DisposeAsync()
    {
        await Node.DisposeAsync();
        Ca.Dispose();
    }
}
