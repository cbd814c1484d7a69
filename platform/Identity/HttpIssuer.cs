using System.Text.Json;
using Microsoft.Extensions.Logging;
using Microsoft.IdentityModel.Tokens;

namespace Yizhan.Platform.Identity;

/// <summary>
/// An issuer over HTTP. Its keys are fetched when a token names one that is not known, not more often than every ten seconds, and
/// kept in a file: what was known stays good while the issuer is away or answers nonsense.
/// </summary>
internal sealed partial class HttpIssuer(IssuerOptions options, string cachePath, HttpClient http, TimeProvider clock, ILogger<HttpIssuer> logger)
    : ITrustedIssuer, IDisposable
{
    private const int MaxBytes = 256 * 1024;

    private static readonly TimeSpan BetweenLooks = TimeSpan.FromSeconds(10);

    /// <summary>A key that the issuer took away is forgotten within this time, as long as it can be asked.</summary>
    private static readonly TimeSpan Fresh = TimeSpan.FromHours(1);

    private readonly SemaphoreSlim _look = new(1);
    private volatile Known? _known;
    private DateTimeOffset _lastLook = DateTimeOffset.MinValue;
    private string _lastProblem = "not asked yet";

    public string Issuer => options.Url;

    public bool MaySpeakFor(string site) => options.Sites.Count == 0 || options.Sites.Contains(site);

    public async ValueTask<IReadOnlyCollection<SecurityKey>> KeysAsync(string? keyId, CancellationToken cancellationToken)
    {
        if (_known is { } known && Has(known, keyId) && clock.GetUtcNow() - known.At < Fresh)
        {
            return known.Keys;
        }

        await _look.WaitAsync(cancellationToken);
        try
        {
            _known ??= FromFile();
            var now = clock.GetUtcNow();
            var isEnough = _known is { } there && Has(there, keyId) && now - there.At < Fresh;

            // A clock that was set back must not keep us from looking.
            if (!isEnough && (now - _lastLook >= BetweenLooks || now < _lastLook))
            {
                _lastLook = now;
                await LookAsync(now, cancellationToken);
            }
        }
        finally
        {
            _look.Release();
        }

        return _known?.Keys ?? throw new TokenRefusedException($"The keys of '{Issuer}' cannot be had: {_lastProblem}");
    }

    public void Dispose()
    {
        _look.Dispose();
        http.Dispose();
    }

    private static bool Has(Known known, string? keyId) => keyId is null || known.Keys.Any(key => key.KeyId == keyId);

    private async Task LookAsync(DateTimeOffset now, CancellationToken cancellationToken)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(TimeSpan.FromSeconds(5));
        try
        {
            var address = options.KeysUrl.Length > 0 ? new Uri(options.KeysUrl) : await DiscoverAsync(deadline.Token);
            var json = await GetAsync(address, deadline.Token);
            _known = new Known(Parse(json, address), now);
            AtomicFile.Write(cachePath, json, secret: false, overwrite: true);
        }
        catch (Exception e) when (e is HttpRequestException or IOException or InvalidDataException or JsonException or ArgumentException
            || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            _lastProblem = e is OperationCanceledException ? "no answer in 5 s." : e.Message;
            NoKeys(Issuer, _lastProblem, _known is null ? "none" : "those known before");
        }
    }

    private async Task<Uri> DiscoverAsync(CancellationToken cancellationToken)
    {
        var address = new Uri(options.Url.TrimEnd('/') + "/.well-known/openid-configuration");
        using var json = JsonDocument.Parse(await GetAsync(address, cancellationToken));
        var root = json.RootElement;

        // OpenID Connect Discovery §4.3: it must name itself exactly so.
        if (root.ValueKind != JsonValueKind.Object || !root.TryGetProperty("issuer", out var issuer) || issuer.ValueKind != JsonValueKind.String
            || issuer.GetString()!.TrimEnd('/') != options.Url.TrimEnd('/'))
        {
            throw new InvalidDataException($"{address} does not describe the issuer '{options.Url}'.");
        }

        return root.TryGetProperty("jwks_uri", out var keys) && Uri.TryCreate(keys.GetString(), UriKind.Absolute, out var uri)
            && (uri.Scheme == "https" || uri.IsLoopback)
            ? uri
            : throw new InvalidDataException($"{address} has no jwks_uri over https.");
    }

    private async Task<byte[]> GetAsync(Uri address, CancellationToken cancellationToken)
    {
        using var answer = await http.GetAsync(address, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        answer.EnsureSuccessStatusCode();
        var type = answer.Content.Headers.ContentType?.MediaType ?? "nothing";
        if (!type.EndsWith("json", StringComparison.OrdinalIgnoreCase))
        {
            throw new InvalidDataException($"{address} answers {type}, not JSON.");
        }

        await using var body = await answer.Content.ReadAsStreamAsync(cancellationToken);
        var bytes = new byte[MaxBytes + 1];
        var length = await body.ReadAtLeastAsync(bytes, bytes.Length, throwOnEndOfStream: false, cancellationToken);
        return length <= MaxBytes ? bytes[..length] : throw new InvalidDataException($"{address} answers more than {MaxBytes} bytes.");
    }

    private static SecurityKey[] Parse(byte[] json, Uri address)
    {
        var keys = new JsonWebKeySet(System.Text.Encoding.UTF8.GetString(json)).GetSigningKeys()
            .Where(key => key is not SymmetricSecurityKey).ToArray();
        return keys.Length > 0 ? keys : throw new InvalidDataException($"{address} has no public key for signatures.");
    }

    private Known? FromFile()
    {
        try
        {
            // As old as can be: it is asked anew at once and used when there is no answer.
            return File.Exists(cachePath) ? new Known(Parse(File.ReadAllBytes(cachePath), new Uri(cachePath)), DateTimeOffset.MinValue) : null;
        }
        catch (Exception e) when (e is InvalidDataException or JsonException or ArgumentException or IOException)
        {
            return null;
        }
    }

    private sealed record Known(IReadOnlyCollection<SecurityKey> Keys, DateTimeOffset At);

    [LoggerMessage(1001, LogLevel.Warning, "The keys of {Issuer} could not be fetched: {Problem} Used are {Used}.")]
    private partial void NoKeys(string issuer, string problem, string used);
}
