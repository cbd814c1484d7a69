using System.Globalization;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Options;
using Yizhan.Console.Live;
using Yizhan.Transparency;

namespace Yizhan.Console.Audit;

/// <summary>Asks the audit service as this node does. Of its answers only that counts as proven which the signed checkpoint proves to this process.</summary>
internal sealed class AuditClient(ServiceAddresses addresses, IOptions<ConsoleOptions> options, HttpMessageHandler handler, TimeProvider clock) : IDisposable
{
    /// <summary>Most records of one search.</summary>
    public const int Limit = 50;

    private readonly HttpClient _http = new(handler)
    {
        Timeout = TimeSpan.FromSeconds(30),
        MaxResponseContentBufferSize = 16 * 1024 * 1024,
    };

    private LogVerification? _last;

    /// <summary>What the last verification of the whole log found; null when none was asked for since this process started.</summary>
    public LogVerification? Last => Volatile.Read(ref _last);

    public void Dispose() => _http.Dispose();

    /// <summary>Size and root of the log, as its key has signed them.</summary>
    /// <exception cref="HttpRequestException">The service does not answer.</exception>
    /// <exception cref="InvalidDataException">The checkpoint is not signed by the key.</exception>
    public async Task<Checkpoint> CheckpointAsync(CancellationToken cancellationToken) =>
        Open(await _http.GetByteArrayAsync(At("checkpoint"), cancellationToken), await KeyAsync(cancellationToken));

    /// <summary>The newest records that match, each with what its proof says.</summary>
    /// <exception cref="HttpRequestException">The service does not answer, or refuses the search.</exception>
    /// <exception cref="InvalidDataException">The checkpoint is not signed by the key.</exception>
    /// <exception cref="JsonException">The answer is something else.</exception>
    public async Task<IReadOnlyList<ProvenRecord>> FindAsync(AuditSearch search, CancellationToken cancellationToken)
    {
        var key = await KeyAsync(cancellationToken);
        var found = JsonSerializer.Deserialize(
            await _http.GetByteArrayAsync(At($"records?limit={Limit}{search.Query}"), cancellationToken), AuditAnswers.Default.FoundRecords)?.Records ?? [];
        var proven = new List<ProvenRecord>(found.Count);
        Checkpoint? checkpoint = null;
        foreach (var record in found)
        {
            // All proofs are for one size: that of the checkpoint which the first one brings.
            var size = checkpoint is null ? "" : string.Create(CultureInfo.InvariantCulture, $"?size={checkpoint.Size}");
            using var answer = await _http.GetAsync(At(string.Create(CultureInfo.InvariantCulture, $"records/{record.Index}/proof{size}")), cancellationToken);
            if (!answer.IsSuccessStatusCode)
            {
                proven.Add(new ProvenRecord(record, ProofState.Missing));
                continue;
            }

            var proof = JsonSerializer.Deserialize(await answer.Content.ReadAsByteArrayAsync(cancellationToken), AuditAnswers.Default.RecordProof)
                ?? throw new JsonException("The proof is null.");
            checkpoint ??= Open(Encoding.UTF8.GetBytes(proof.Checkpoint ?? ""), key);
            proven.Add(new ProvenRecord(record, proof.Proves(record, checkpoint) ? ProofState.Verified : ProofState.Wrong));
        }

        return proven;
    }

    /// <summary>Lets the service check every entry, and remembers what it found.</summary>
    /// <exception cref="HttpRequestException">The service does not answer, or verifies for somebody else.</exception>
    /// <exception cref="JsonException">The answer is something else.</exception>
    public async Task VerifyAsync(CancellationToken cancellationToken)
    {
        // A long log takes longer than a request may: lines come once a second, and the body has no deadline.
        using var answer = await _http.GetAsync(At("verify"), HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        answer.EnsureSuccessStatusCode();
        using var lines = new StreamReader(await answer.Content.ReadAsStreamAsync(cancellationToken), Encoding.UTF8);
        VerifyLine? last = null;
        while (await lines.ReadLineAsync(cancellationToken) is { } line)
        {
            last = JsonSerializer.Deserialize(line, AuditAnswers.Default.VerifyLine);
        }

        Volatile.Write(ref _last, last?.Ok is { } ok
            ? new LogVerification(clock.GetUtcNow(), ok, last.Checked, last.BadEntry)
            : throw new JsonException("The verification has no result."));
    }

    /// <summary>The configured key, else the one that the log names: then a log that was replaced with its key is not noticed here.</summary>
    private async Task<NoteKey> KeyAsync(CancellationToken cancellationToken)
    {
        var text = options.Value.AuditKey is { Length: > 0 } configured ? configured : await _http.GetStringAsync(At("key"), cancellationToken);
        return NoteKey.TryParse(text, out var key) ? key : throw new InvalidDataException("The key of the audit log is not a key.");
    }

    private static Checkpoint Open(byte[] note, NoteKey key) => Checkpoint.TryOpen(note, key, out var checkpoint)
        ? checkpoint
        : throw new InvalidDataException("The checkpoint is not signed by the key of the audit log.");

    private Uri At(string path) => new(addresses.Audit, "audit/" + path);
}
