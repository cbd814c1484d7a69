using System.Globalization;
using System.Net;
using System.Text;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Options;
using Yizhan.Transparency;

namespace Yizhan.Audit.Witness;

/// <summary>
/// Has the checkpoints of this log cosigned by others (C2SP tlog-witness). A witness that has seen more than this log has, or something
/// else, shows that the log was cut or forked: a critical log line, and the node is unhealthy.
/// </summary>
internal sealed partial class WitnessClient(AuditConsumer consumer, IOptions<AuditOptions> options, TimeProvider clock, ILogger<WitnessClient> logger)
    : BackgroundService, IHealthCheck
{
    private readonly ILogger _logger = logger;
    private readonly (Uri Url, NoteKey Key)[] _witnesses =
        [.. options.Value.Witnesses.Select(w => (new Uri(w.Url.EndsWith('/') ? w.Url : w.Url + "/"), WitnessKeys.Read(w.Key)))];
    private readonly Dictionary<Uri, long> _seen = [];
    private volatile string? _contradiction;
    private string? _asked;

    /// <inheritdoc/>
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) =>
        Task.FromResult(_contradiction is { } why ? HealthCheckResult.Unhealthy(why) : HealthCheckResult.Healthy());

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (_witnesses.Length == 0)
        {
            return;
        }

        using var http = new HttpClient { Timeout = TimeSpan.FromSeconds(30) };
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(options.Value.WitnessIntervalMs), clock);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                if (consumer.Log is { } log && log.Current is { Checkpoint.Size: > 0 } current && Encoding.UTF8.GetString(current.Note) is var note && note != _asked)
                {
                    _asked = await AskAllAsync(http, log, current, stoppingToken) ? note : _asked;
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The node stops.
        }
    }

    /// <summary>True when every witness has cosigned.</summary>
    private async Task<bool> AskAllAsync(HttpClient http, AuditLog log, Tree.Published current, CancellationToken cancellationToken)
    {
        if (!SignedNote.TryParse(current.Note, out var note))
        {
            return false;
        }

        var cosigned = note;
        foreach (var (url, key) in _witnesses)
        {
            try
            {
                cosigned = await AskAsync(http, url, key, log, current, note, cancellationToken) is { } signature ? cosigned.With(signature) : cosigned;
            }
            catch (Exception e) when (e is HttpRequestException or IOException or InvalidDataException || (e is TaskCanceledException && !cancellationToken.IsCancellationRequested))
            {
                NotAsked(url, e.Message);
            }
        }

        if (cosigned.Signatures.Count > note.Signatures.Count)
        {
            log.SaveWitnessed(cosigned.ToBytes());
        }

        return cosigned.Signatures.Count == note.Signatures.Count + _witnesses.Length;
    }

    private async Task<NoteSignature?> AskAsync(
        HttpClient http, Uri url, NoteKey key, AuditLog log, Tree.Published current, SignedNote note, CancellationToken cancellationToken)
    {
        // The second attempt is from the size that the witness says it knows.
        for (var attempt = 0; attempt < 2; attempt++)
        {
            var old = _seen.GetValueOrDefault(url);
            using var answer = await http.PostAsync(new Uri(url, "add-checkpoint"), new StringContent(RequestOf(log, current, old)), cancellationToken);
            var text = await answer.Content.ReadAsStringAsync(cancellationToken);
            switch (answer.StatusCode)
            {
                case HttpStatusCode.OK:
                    _seen[url] = current.Checkpoint.Size;
                    return Cosignature(text, key, note);
                case HttpStatusCode.Conflict when long.TryParse(text.Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out var known) && known <= current.Checkpoint.Size && attempt == 0:
                    _seen[url] = known;
                    continue;
                case HttpStatusCode.Conflict or HttpStatusCode.UnprocessableEntity:
                    _contradiction = $"The witness {key.Name} has seen another log than this one, or more of it: it was cut or forked. ({(int)answer.StatusCode}: {text.Trim()})";
                    Contradicted(_contradiction);
                    return null;
                default:
                    NotAsked(url, $"{(int)answer.StatusCode}: {text.Trim()}");
                    return null;
            }
        }

        return null;
    }

    private static string RequestOf(AuditLog log, Tree.Published current, long old)
    {
        var size = current.Checkpoint.Size;
        var proof = old > 0 ? log.Reader.Proofs(size).Consistency(old, size) : [];
        return string.Create(CultureInfo.InvariantCulture, $"old {old}\n{string.Concat(proof.Select(h => h.ToBase64() + "\n"))}\n{Encoding.UTF8.GetString(current.Note)}");
    }

    private static NoteSignature Cosignature(string lines, NoteKey key, SignedNote note)
    {
        foreach (var line in lines.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (NoteSignature.TryParse(line, out var signature) && signature.Name == key.Name && signature.KeyId == key.Id && key.Signs(note.With(signature)))
            {
                return signature;
            }
        }

        throw new InvalidDataException($"The answer has no right cosignature of {key}.");
    }

    [LoggerMessage(7040, LogLevel.Warning, "The witness {Url} has not cosigned; it is asked again: {Why}")]
    private partial void NotAsked(Uri url, string why);

    [LoggerMessage(7041, LogLevel.Critical, "{Contradiction}")]
    private partial void Contradicted(string contradiction);
}
