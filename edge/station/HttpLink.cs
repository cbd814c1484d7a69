using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.NetworkInformation;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Yizhan.Contracts;
using Yizhan.Link;
using Yizhan.Platform.Certificates;
using Yizhan.Platform.Releases;
using Yizhan.Storage;
using ZstdSharp;

namespace Yizhan.Station;

/// <summary>The link over HTTP/2 and TLS 1.3 with the site's client certificate. All requests share one connection.</summary>
internal sealed class HttpLink : ILink, IDisposable
{
    // Linux: IPPROTO_TCP, TCP_NOTSENT_LOWAT.
    private const int Tcp = 6;
    private const int NotSentLowWater = 25;

    /// <summary>Above this rate the line is no bottleneck, and compressing would only cost the site's small processor.</summary>
    private const double CompressBelowBytesPerSecond = 20e6;

    private readonly StationOptions _options;
    private readonly TimeProvider _clock;
    private readonly Revocations? _revocations;
    private readonly HttpClient _http;
    private readonly DnsEndPoint[] _addresses;
    private readonly Lock _rateLock = new();
    private double _bytesPerSecond;
    private long _lastAnswer;
    private long _lastMoved;
    private Socket? _socket;

    public HttpLink(StationOptions options, TimeProvider clock, Revocations? revocations = null)
    {
        (_options, _clock, _revocations) = (options, clock, revocations);
        _addresses = [new DnsEndPoint(options.CentreUrl!.IdnHost, options.CentreUrl.Port), .. options.CentreAddresses.Select(a => EndPointOf(a)!)];
        Files = new CertificateFiles(options.CertificatePath!, options.KeyPath!);
        _http = new HttpClient(new SocketsHttpHandler
        {
            UseProxy = false,
            UseCookies = false,
            AllowAutoRedirect = false,
            ConnectTimeout = TimeSpan.FromSeconds(options.StallSeconds),
            ConnectCallback = ConnectAsync,
            PooledConnectionLifetime = Timeout.InfiniteTimeSpan,

            // They keep translations of address open. That the line is alive is judged by bytes that move, not by these: on a
            // slow line an answer to a ping queues behind everything else.
            KeepAlivePingDelay = TimeSpan.FromSeconds(15),
            KeepAlivePingTimeout = TimeSpan.FromSeconds(Math.Max(60, 2 * options.StallSeconds)),
        })
        {
            BaseAddress = options.CentreUrl,
            Timeout = Timeout.InfiniteTimeSpan,
            MaxResponseContentBufferSize = ReleaseBundle.MaxBytes + 1024,
        };
    }

    /// <summary>The site's certificate: looked at for each connection, so that it may be replaced at any time.</summary>
    public CertificateFiles Files { get; }

    /// <summary>Bytes of bodies that were sent, after compression; for metrics and tests.</summary>
    public long BytesSent { get; private set; }

    public Task<LinkMarks> MarksAsync(Guid epoch, CancellationToken cancellationToken) =>
        AskAsync(HttpMethod.Get, $"{LinkRoutes.Marks}?epoch={epoch}", null, LinkJson.Default.LinkMarks, cancellationToken);

    public async Task<long> SendAsync(EntryBatch batch, CancellationToken cancellationToken)
    {
        var body = Pack(batch.ToBytes(), LinkRoutes.EntriesType);
        return (await AskAsync(HttpMethod.Post, LinkRoutes.Entries, body, LinkJson.Default.LinkMark, cancellationToken)).Mark;
    }

    public Task<MissingAnswer> MissingAsync(MissingQuestion question, CancellationToken cancellationToken) =>
        AskAsync(
            HttpMethod.Post, LinkRoutes.Missing, Plain(JsonSerializer.SerializeToUtf8Bytes(question, LinkJson.Default.MissingQuestion)),
            LinkJson.Default.MissingAnswer, cancellationToken);

    public async Task<bool> PutAsync(BlobRef blob, long offset, ReadOnlyMemory<byte> run, CancellationToken cancellationToken)
    {
        var route = LinkRoutes.Chunks
            .Replace("{sha256}", blob.Hash.ToString(), StringComparison.Ordinal)
            .Replace("{index:long}", (offset / IBlobStore.ChunkBytes).ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal);
        var body = Pack(run, LinkRoutes.ChunksType);
        var url = string.Create(CultureInfo.InvariantCulture, $"{route}?length={blob.Length}");
        return (await AskAsync(HttpMethod.Put, url, body, LinkJson.Default.ChunkAnswer, cancellationToken)).Complete;
    }

    public async Task ReportAsync(SiteStatus status, CancellationToken cancellationToken)
    {
        var body = Plain(JsonSerializer.SerializeToUtf8Bytes(status, ContractsJson.Default.SiteStatus));
        await SendAsync(HttpMethod.Put, LinkRoutes.Status, body, cancellationToken);
    }

    /// <summary>The release that this site should install; null when it needs none.</summary>
    /// <param name="running">Digest of what runs.</param>
    /// <param name="refused">Digest of what is not taken.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public async Task<byte[]?> ReleaseAsync(string? running, string? refused, CancellationToken cancellationToken)
    {
        var bytes = await SendAsync(HttpMethod.Get, $"{LinkRoutes.Release}?running={running}&refused={refused}", null, cancellationToken);
        return bytes.Length == 0 ? null : bytes;
    }

    /// <summary>The site's next certificate.</summary>
    /// <param name="request">PKCS #10, PEM.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public Task<CertificateAnswer> RenewAsync(string request, CancellationToken cancellationToken) => AskAsync(
        HttpMethod.Post, LinkRoutes.Certificate,
        Plain(JsonSerializer.SerializeToUtf8Bytes(new RenewalRequest(request), EnrolmentJson.Default.RenewalRequest)),
        EnrolmentJson.Default.CertificateAnswer, cancellationToken);

    /// <summary>The signed list of who may sign in here without the centre; null when there is no newer one.</summary>
    /// <param name="after">Number of the list that is here; 0 for none.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public async Task<string?> AccountsAsync(long after, CancellationToken cancellationToken)
    {
        var url = string.Create(CultureInfo.InvariantCulture, $"{LinkRoutes.Accounts}?after={after}");
        var bytes = await SendAsync(HttpMethod.Get, url, null, cancellationToken);
        return bytes.Length == 0 ? null : System.Text.Encoding.ASCII.GetString(bytes);
    }

    /// <summary>What the centre orders about the models here, after a number.</summary>
    public Task<IReadOnlyList<RolloutOrder>> RolloutsAsync(long after, CancellationToken cancellationToken) => AskAsync(
        HttpMethod.Get, string.Create(CultureInfo.InvariantCulture, $"{LinkRoutes.Rollouts}?after={after}"), null, ContractsJson.Default.IReadOnlyListRolloutOrder, cancellationToken);

    /// <summary>What was revoked after a number.</summary>
    public Task<RevocationDelta> RevocationsAsync(long after, CancellationToken cancellationToken) => AskAsync(
        HttpMethod.Get, string.Create(CultureInfo.InvariantCulture, $"{LinkRoutes.Revocations}?after={after}"), null,
        EnrolmentJson.Default.RevocationDelta, cancellationToken);

    /// <summary>
    /// Completes when the machine's network changes, or when a connect succeeds after one that failed: a centre that accepts
    /// connections and then fails must be met with patience, not with a probe that says "now" each time.
    /// </summary>
    public async Task ReturnAsync(CancellationToken cancellationToken)
    {
        var changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        NetworkAddressChangedEventHandler address = (_, _) => changed.TrySetResult();
        NetworkAvailabilityChangedEventHandler available = (_, e) => _ = e.IsAvailable && changed.TrySetResult();
        NetworkChange.NetworkAddressChanged += address;
        NetworkChange.NetworkAvailabilityChanged += available;
        try
        {
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            var probing = ProbeAsync(stop.Token);
            await Task.WhenAny(changed.Task.WaitAsync(cancellationToken), probing);
            await stop.CancelAsync();
            await probing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
        finally
        {
            NetworkChange.NetworkAddressChanged -= address;
            NetworkChange.NetworkAvailabilityChanged -= available;
        }

        cancellationToken.ThrowIfCancellationRequested();
    }

    public void Dispose() => _http.Dispose();

    private async Task ProbeAsync(CancellationToken cancellationToken)
    {
        var failed = false;
        while (true)
        {
            var there = false;
            foreach (var address in _addresses)
            {
                using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
                using var limit = new CancellationTokenSource(TimeSpan.FromMilliseconds(_options.ProbeMs), _clock);
                using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
                try
                {
                    await socket.ConnectAsync(address, either.Token);
                    there = true;
                    break;
                }
                catch (Exception e) when (e is SocketException or OperationCanceledException && !cancellationToken.IsCancellationRequested)
                {
                    // The next one may be there.
                }
            }

            if (there && failed)
            {
                return;
            }

            failed |= !there;

            await Task.Delay(TimeSpan.FromMilliseconds(_options.ProbeMs), _clock, cancellationToken);
        }
    }

    private async Task<T> AskAsync<T>(
        HttpMethod method, string url, Body? body, JsonTypeInfo<T> type, CancellationToken cancellationToken) where T : class
    {
        var answer = await SendAsync(method, url, body, cancellationToken);
        try
        {
            return JsonSerializer.Deserialize(answer, type) ?? throw new JsonException("null");
        }
        catch (JsonException e)
        {
            throw new LinkDownException($"The centre's answer to {method} {url} is not understood: {e.Message}", e);
        }
    }

    /// <summary>One request. It is given up when nothing moves: neither bytes of it nor answers to any other.</summary>
    private async Task<byte[]> SendAsync(HttpMethod method, string url, Body? body, CancellationToken cancellationToken)
    {
        using var stalled = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using var request = new HttpRequestMessage(method, url)
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
        };
        var moved = new Movement(this);
        if (body is { } b)
        {
            request.Content = new RunContent(b.Bytes, moved);
            request.Content.Headers.ContentType = new MediaTypeHeaderValue(b.Type);
            request.Content.Headers.Add(LinkRoutes.ContentDigest, $"sha-256=:{Convert.ToBase64String(SHA256.HashData(b.Bytes.Span))}:");
            if (b.Compressed)
            {
                request.Content.Headers.ContentEncoding.Add(LinkRoutes.Zstd);
            }
        }

        var limit = TimeSpan.FromSeconds(_options.StallSeconds);
        var given = false;
        await using var watch = _clock.CreateTimer(
            _ =>
            {
                var last = Math.Max(moved.Last, Interlocked.Read(ref _lastAnswer));
                if (_clock.GetElapsedTime(last) >= limit)
                {
                    given = true;
                    stalled.Cancel();
                }
            },
            null, limit / 4, limit / 4);
        try
        {
            using var response = await _http.SendAsync(request, HttpCompletionOption.ResponseContentRead, stalled.Token);
            var bytes = await response.Content.ReadAsByteArrayAsync(stalled.Token);
            Interlocked.Exchange(ref _lastAnswer, _clock.GetTimestamp());
            Measure(body?.Bytes.Length ?? 0, _clock.GetElapsedTime(moved.Started));
            return response.IsSuccessStatusCode ? bytes : throw Refusal(response, bytes);
        }
        catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
        {
            if (given && _clock.GetElapsedTime(Math.Max(Interlocked.Read(ref _lastMoved), Interlocked.Read(ref _lastAnswer))) >= limit)
            {
                // Half open: neither end was told that the other is gone. Without this the next request would wait on the same connection,
                // and so on until its pings fail.
                Interlocked.Exchange(ref _socket, null)?.Dispose();
            }

            throw new LinkDownException(
                given ? $"Nothing moved for {_options.StallSeconds} s." : $"{_options.CentreUrl} did not answer in time.", e);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or AuthenticationException or CryptographicException)
        {
            throw new LinkDownException($"{_options.CentreUrl}: {(e.InnerException ?? e).Message}", e);
        }
    }

    private static LinkRefusedException Refusal(HttpResponseMessage response, byte[] bytes)
    {
        var seconds = response.Headers.RetryAfter?.Delta is { } delta ? (int?)delta.TotalSeconds : null;
        if (response.Content.Headers.ContentType?.MediaType == "application/problem+json")
        {
            try
            {
                if (JsonSerializer.Deserialize(bytes, LinkJson.Default.LinkProblem) is { } problem)
                {
                    return new LinkRefusedException(problem with { RetryAfterSeconds = problem.RetryAfterSeconds ?? seconds });
                }
            }
            catch (JsonException)
            {
                // Something between us and the centre wrote it; the status says enough.
            }
        }

        var title = response.ReasonPhrase is { Length: > 0 } reason ? reason : "Refused.";
        return new LinkRefusedException(new LinkProblem((int)response.StatusCode, title, RetryAfterSeconds: seconds));
    }

    private Body Pack(ReadOnlyMemory<byte> bytes, string type)
    {
        if (bytes.Length < 512 || Volatile.Read(ref _bytesPerSecond) > CompressBelowBytesPerSecond)
        {
            return new Body(bytes, type, false);
        }

        using var zstd = new Compressor(level: 1);
        var packed = zstd.Wrap(bytes.Span);
        return packed.Length < bytes.Length * 9L / 10 ? new Body(packed.ToArray(), type, true) : new Body(bytes, type, false);
    }

    private static Body Plain(byte[] json) => new(json, "application/json", false);

    private void Measure(int bytes, TimeSpan took)
    {
        lock (_rateLock)
        {
            BytesSent += bytes;
            if (bytes >= IBlobStore.ChunkBytes / 4 && took > TimeSpan.Zero)
            {
                var rate = bytes / took.TotalSeconds;
                Volatile.Write(ref _bytesPerSecond, _bytesPerSecond == 0 ? rate : (0.8 * _bytesPerSecond) + (0.2 * rate));
            }
        }
    }

    /// <summary>A host and a port out of <c>HOST:PORT</c>; null when it is none.</summary>
    internal static DnsEndPoint? EndPointOf(string address) =>
        Uri.TryCreate("tcp://" + address, UriKind.Absolute, out var uri) && uri is { Port: > 0, PathAndQuery: "/" or "", UserInfo: "" } && uri.IdnHost.Length > 0 ? new DnsEndPoint(uri.IdnHost, uri.Port) : null;

    private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancellationToken)
    {
        var socket = await OpenAsync(cancellationToken);
        try
        {
            Interlocked.Exchange(ref _socket, socket);

            // TLS is made here and not by the handler, which would ask for the certificate once and send no intermediate.
            var secured = new SslStream(new NetworkStream(socket, ownsSocket: true));
            try
            {
                await secured.AuthenticateAsClientAsync(
                    new SslClientAuthenticationOptions
                    {
                        TargetHost = context.DnsEndPoint.Host,
                        EnabledSslProtocols = SslProtocols.Tls13,
                        ApplicationProtocols = [SslApplicationProtocol.Http2],
                        CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
                        ClientCertificateContext = Files.Context,
                        RemoteCertificateValidationCallback = (_, certificate, chain, errors) => IsCentre(certificate, chain, errors),
                    },
                    cancellationToken);
                return secured;
            }
            catch
            {
                await secured.DisposeAsync();
                throw;
            }
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>To the first address at which somebody listens: of two centres only the one that leads does.</summary>
    private async Task<Socket> OpenAsync(CancellationToken cancellationToken)
    {
        for (var i = 0; ; i++)
        {
            var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            try
            {
                if (OperatingSystem.IsLinux())
                {
                    // What the kernel has taken cannot be overtaken any more: on a slow line the default buffer holds minutes of
                    // images, and an urgent entry would wait behind them.
                    socket.SetRawSocketOption(Tcp, NotSentLowWater, BitConverter.GetBytes(32 * 1024));
                }

                if (i < _addresses.Length - 1)
                {
                    // Each gets its part of the time: a machine that is off does not answer at all.
                    limit.CancelAfter(TimeSpan.FromSeconds(_options.StallSeconds) / _addresses.Length);
                }

                await socket.ConnectAsync(_addresses[i], limit.Token);
                return socket;
            }
            catch (Exception e) when (i < _addresses.Length - 1 && (e is SocketException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested)))
            {
                socket.Dispose();
            }
            catch
            {
                socket.Dispose();
                throw;
            }
        }
    }

    private bool IsCentre(X509Certificate? certificate, X509Chain? chain, SslPolicyErrors errors)
    {
        var trust = CertificateTrust.FromFile(_options.RootPath!, _clock, Files.Certificate.NotBefore, _revocations);
        var verdict = trust.CheckServer(certificate, errors, chain?.ChainPolicy.ExtraStore);
        return verdict == CertificateVerdict.Valid
            ? true
            : throw new AuthenticationException($"the centre's certificate is not accepted: {verdict}.");
    }

    private readonly record struct Body(ReadOnlyMemory<byte> Bytes, string Type, bool Compressed);

    /// <summary>When something of a request moved last.</summary>
    private sealed class Movement(HttpLink link)
    {
        private long _last = link._clock.GetTimestamp();

        public long Started { get; } = link._clock.GetTimestamp();

        public long Last => Interlocked.Read(ref _last);

        public void Note()
        {
            Interlocked.Exchange(ref _last, link._clock.GetTimestamp());
            Interlocked.Exchange(ref link._lastMoved, Last);
        }
    }

    /// <summary>A body that is written in small pieces, each of which is a sign of life.</summary>
    private sealed class RunContent(ReadOnlyMemory<byte> bytes, Movement moved) : HttpContent
    {
        private const int Piece = 16 * 1024;

        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
            SerializeToStreamAsync(stream, context, CancellationToken.None);

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
        {
            for (var at = 0; at < bytes.Length; at += Piece)
            {
                await stream.WriteAsync(bytes.Slice(at, Math.Min(Piece, bytes.Length - at)), cancellationToken);
                moved.Note();
            }
        }

        protected override bool TryComputeLength(out long length)
        {
            length = bytes.Length;
            return true;
        }
    }
}
