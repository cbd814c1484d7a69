using System.Net;
using System.Net.Sockets;
using System.Text;
using Amazon.S3;
using Amazon.S3.Model;
using Yizhan.Drills;

[assembly: AssemblyFixture(typeof(Yizhan.Storage.ProductionTests.S3Server))]

namespace Yizhan.Storage.ProductionTests;

/// <summary>
/// One S3 server for all tests; each store has a prefix of its own. It is the one at <c>YIZHAN_S3_URL</c> with the credentials in the file <c>YIZHAN_S3_CREDENTIALS</c>
/// (<c>./check s3</c>: Ceph's radosgw), else <c>s3rver</c>, which knows neither versions nor locks.
/// </summary>
public sealed class S3Server : IAsyncLifetime
{
    private static int _prefixes;

    private readonly string? _outside = Environment.GetEnvironmentVariable("YIZHAN_S3_URL");
    private LocalS3? _server;
    private AmazonS3Client? _client;

    internal Uri Url => _outside is { } url ? new Uri(url) : Known(_server).Url;

    internal string Bucket { get; private set; } = LocalS3.Bucket;

    /// <summary>One line, as the file of an operator has it.</summary>
    internal string Credentials { get; private set; } = LocalS3.Credentials;

    internal AmazonS3Client Client => Known(_client);

    /// <summary>Settings of a store that keeps nothing here that the server has.</summary>
    internal Action<StorageOptions> Settings(Uri? url = null, int keepLocalPercent = 0) => options =>
    {
        var credentials = Path.Combine(Path.GetDirectoryName(options.PostgresConnectionFile)!, "s3");
        File.WriteAllText(credentials, Credentials);
        (options.S3Url, options.S3Bucket, options.S3CredentialsFile, options.S3KeepLocalPercent) = ((url ?? Url).ToString(), Bucket, credentials, keepLocalPercent);
        options.S3Prefix = $"t{Interlocked.Increment(ref _prefixes)}/";
    };

    /// <summary>A server on which nobody can delete what is locked; the test is skipped where there is none.</summary>
    internal AmazonS3Client WithLocks()
    {
        Assert.SkipWhen(_outside is null, "s3rver has no object lock: ./check s3");
        return Client;
    }

    /// <summary>Names of the objects that begin so, in order.</summary>
    internal async Task<List<string>> ObjectsAsync(string prefix)
    {
        var keys = new List<string>();
        var request = new ListObjectsV2Request { BucketName = Bucket, Prefix = prefix };
        ListObjectsV2Response answer;
        do
        {
            answer = await Client.ListObjectsV2Async(request, TestContext.Current.CancellationToken);
            keys.AddRange(answer.S3Objects.Select(o => o.Key));
            request.ContinuationToken = answer.NextContinuationToken;
        }
        while (answer.IsTruncated);
        return keys;
    }

    internal async Task<byte[]> ReadAsync(string key)
    {
        using var answer = await Client.GetObjectAsync(Bucket, key, TestContext.Current.CancellationToken);
        using var bytes = new MemoryStream();
        await answer.ResponseStream.CopyToAsync(bytes, TestContext.Current.CancellationToken);
        return bytes.ToArray();
    }

    /// <summary>Puts other bytes into the place of an object, which says the same of itself: what a bad disk does.</summary>
    internal async Task ChangeAsync(string key, byte[] bytes)
    {
        var before = await Client.GetObjectMetadataAsync(Bucket, key, TestContext.Current.CancellationToken);
        using var body = new MemoryStream(bytes);
        var request = new PutObjectRequest { BucketName = Bucket, Key = key, InputStream = body, UseChunkEncoding = false };
        foreach (var name in before.Metadata.Keys)
        {
            request.Metadata[name] = before.Metadata[name];
        }

        await Client.PutObjectAsync(request, TestContext.Current.CancellationToken);
    }

    public async ValueTask InitializeAsync()
    {
        if (_outside is not null)
        {
            Credentials = (await File.ReadAllTextAsync(Environment.GetEnvironmentVariable("YIZHAN_S3_CREDENTIALS")!, CancellationToken.None)).Trim();
            Bucket = $"yizhan-{Guid.CreateVersion7(TimeProvider.System.GetUtcNow())}";
        }
        else if (LocalS3.Program is not null)
        {
            _server = await LocalS3.StartAsync(CancellationToken.None);
        }
        else
        {
            return;
        }

        var colon = Credentials.IndexOf(':', StringComparison.Ordinal);
        _client = new AmazonS3Client(
            Credentials[..colon], Credentials[(colon + 1)..], new AmazonS3Config { ServiceURL = Url.ToString(), AuthenticationRegion = "us-east-1", ForcePathStyle = true });
        if (_outside is not null)
        {
            await _client.PutBucketAsync(Bucket, CancellationToken.None);
        }
    }

    public async ValueTask DisposeAsync()
    {
        _client?.Dispose();
        if (_server is not null)
        {
            await _server.DisposeAsync();
        }
    }

    private static T Known<T>(T? server) where T : class
    {
        Assert.SkipWhen(server is null, "s3rver is not installed: npm ci in drills/peers");
        return server;
    }
}

/// <summary>A line to the S3 server that answers 503, ends answers early or changes their bytes.</summary>
internal sealed class S3Line : IAsyncDisposable
{
    private readonly Uri _server;
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _end = new();
    private readonly List<Task> _connections = [];
    private readonly Task _accepting;
    private int _left;

    public S3Line(Uri server)
    {
        _server = server;
        _listener.Start();
        Url = new Uri($"http://127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}");
        _accepting = AcceptAsync();
    }

    public enum Fault
    {
        Unavailable,
        Truncated,
        Changed,
    }

    public Uri Url { get; }

    public Fault Kind { get; private set; }

    /// <summary>How often the line still does it.</summary>
    public int Left => Volatile.Read(ref _left);

    public void Do(Fault kind, int times)
    {
        Kind = kind;
        Volatile.Write(ref _left, times);
    }

    public async ValueTask DisposeAsync()
    {
        _listener.Stop();
        await _end.CancelAsync();
        await _accepting;
        await Task.WhenAll(_connections);
        _end.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                _connections.Add(CarryAsync(await _listener.AcceptTcpClientAsync(_end.Token)));
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
        }
    }

    private bool Take(Fault kind) => Kind == kind && Left > 0 && Interlocked.Decrement(ref _left) >= 0;

    private async Task CarryAsync(TcpClient client)
    {
        using var broken = CancellationTokenSource.CreateLinkedTokenSource(_end.Token);
        using var server = new TcpClient();
        using (client)
        {
            try
            {
                await server.ConnectAsync(_server.Host, _server.Port, broken.Token);
                await Task.WhenAny(QuestionsAsync(client, server, broken.Token), AnswersAsync(server, client, broken.Token));
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException or IOException)
            {
            }

            await broken.CancelAsync();
        }
    }

    private async Task QuestionsAsync(TcpClient client, TcpClient server, CancellationToken cancellationToken)
    {
        var buffer = new byte[64 * 1024];
        while (await client.GetStream().ReadAsync(buffer, cancellationToken) is > 0 and var read)
        {
            if (buffer.AsSpan(0, read).IndexOf(" HTTP/1.1\r\n"u8) > 0 && Take(Fault.Unavailable))
            {
                const string body = "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";
                await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes(
                    $"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: {body.Length}\r\nConnection: close\r\n\r\n{body}"), cancellationToken);
                return;
            }

            await server.GetStream().WriteAsync(buffer.AsMemory(0, read), cancellationToken);
        }
    }

    private async Task AnswersAsync(TcpClient server, TcpClient client, CancellationToken cancellationToken)
    {
        var buffer = new byte[64 * 1024];
        while (await server.GetStream().ReadAsync(buffer, cancellationToken) is > 0 and var read)
        {
            // Only where there is a body to be changed, not in the header.
            if (read > 8192 && Take(Fault.Changed))
            {
                buffer[read - 100] ^= 1;
            }
            else if (read > 8192 && Take(Fault.Truncated))
            {
                await client.GetStream().WriteAsync(buffer.AsMemory(0, read / 2), cancellationToken);
                return;
            }

            await client.GetStream().WriteAsync(buffer.AsMemory(0, read), cancellationToken);
        }
    }
}
