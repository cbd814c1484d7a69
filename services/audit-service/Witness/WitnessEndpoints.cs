using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Options;
using Yizhan.Audit.Tree;
using Yizhan.Platform;
using Yizhan.Platform.Identity;
using Yizhan.Transparency;

namespace Yizhan.Audit.Witness;

/// <summary>
/// Witnesses the logs of other nodes by the public protocol (C2SP tlog-witness): cosigns a checkpoint when the log has only grown since the
/// last one, and remembers it first. A log that was cut or forked gets no cosignature ever again.
/// </summary>
internal sealed class WitnessEndpoints(AuditConsumer consumer, IOptions<NodeOptions> node, IOptions<AuditOptions> options, TimeProvider clock)
{
    private const int MaxProof = 63;
    private const string SizeType = "text/x.tlog.size";
    private readonly Lock _gate = new();
    private readonly DurableFolder _folder = new(Path.GetDirectoryName(node.Value.PathOf("audit", "witness", "x"))!);
    private readonly NoteKey[] _logs = [.. options.Value.WitnessedLogs.Select(WitnessKeys.Read)];

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapPost("/witness/add-checkpoint", (HttpContext context, WitnessEndpoints witness) => witness.AddAsync(context))
            .OpenToAll("A checkpoint is signed by its log, and only logs of the settings are answered (C2SP tlog-witness).");
        routes.MapGet("/witness/checkpoint", (string origin, WitnessEndpoints witness) =>
            witness.Last(origin) is { } note ? Results.Bytes(note, "text/plain") : Results.Problem($"No checkpoint of '{origin}' was witnessed here.", statusCode: 404))
            .OpenToAll("A number and a hash, signed: whoever verifies a log compares with it.");
        routes.MapGet("/witness/key", (AuditConsumer consumer) =>
            consumer.Log is { } log ? Results.Text($"{log.Signer.CosignatureKey}\n") : RecordEndpoints.NotOpen(consumer))
            .OpenToAll("A public key.");
    }

    /// <summary>The newest checkpoint of a log that was cosigned here: who verifies a log compares with it.</summary>
    public byte[]? Last(string origin)
    {
        var path = Path.Combine(_folder.Root, FileOf(origin));
        return File.Exists(path) ? File.ReadAllBytes(path) : null;
    }

    private async Task AddAsync(HttpContext context)
    {
        using var body = new MemoryStream();
        var buffer = new byte[SignedNote.MaxBytes + 8192];
        var length = await context.Request.Body.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, context.RequestAborted);
        var (status, text) = length == buffer.Length ? (413, "The request is too large.\n") : Add(buffer.AsSpan(0, length));
        (context.Response.StatusCode, context.Response.ContentType) = (status, status == 409 ? SizeType : "text/plain; charset=utf-8");
        await context.Response.WriteAsync(text, context.RequestAborted);
    }

    private (int Status, string Text) Add(ReadOnlySpan<byte> body)
    {
        if (consumer.Log is not { } own)
        {
            return (503, consumer.Problem + "\n");
        }

        var text = Encoding.UTF8.GetString(body);
        var split = text.IndexOf("\n\n", StringComparison.Ordinal);
        if (split < 0 || text[..split].Split('\n') is not [var first, .. var lines] || lines.Length > MaxProof
            || first.Split(' ') is not ["old", var number] || !long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out var old))
        {
            return (400, $"The request is 'old <size>', up to {MaxProof} hashes, an empty line and a checkpoint.\n");
        }

        var proof = new TreeHash[lines.Length];
        for (var i = 0; i < lines.Length; i++)
        {
            if (!TreeHash.TryParseBase64(lines[i], out proof[i]))
            {
                return (400, $"Hash {i} of the proof is not 32 bytes in base64.\n");
            }
        }

        var note = Encoding.UTF8.GetBytes(text[(split + 2)..]);
        if (!SignedNote.TryParse(note, out var parsed) || !Checkpoint.TryParse(parsed.Text, out var checkpoint))
        {
            return (400, "The checkpoint is not a signed note with origin, size and root.\n");
        }

        var keys = _logs.Where(k => k.Name == checkpoint.Origin).ToArray();
        return keys.Length == 0 ? (404, $"The log '{checkpoint.Origin}' is not witnessed here.\n")
            : !keys.Any(k => k.Signs(parsed)) ? (403, "No key of the log has signed this checkpoint.\n")
            : old > checkpoint.Size ? (400, $"old is {old}; the checkpoint has {checkpoint.Size} entries.\n")
            : Cosign(own, parsed, checkpoint, old, proof);
    }

    private (int Status, string Text) Cosign(AuditLog own, SignedNote note, Checkpoint checkpoint, long old, TreeHash[] proof)
    {
        lock (_gate)
        {
            var last = Last(checkpoint.Origin) is { } bytes && SignedNote.TryParse(bytes, out var known) && Checkpoint.TryParse(known.Text, out var parsed) ? parsed : null;
            var size = last?.Size ?? 0;
            if (old != size || (checkpoint.Size == size && last is not null && checkpoint.Root != last.Root))
            {
                return (409, string.Create(CultureInfo.InvariantCulture, $"{size}\n"));
            }

            var isConsistent = old == 0 || last is null ? proof.Length == 0 : Merkle.IsConsistent(old, checkpoint.Size, last.Root, checkpoint.Root, proof);
            if (!isConsistent)
            {
                return (422, $"The proof does not show that the log with {checkpoint.Size} entries begins with the one with {old} that was witnessed.\n");
            }

            // Remembered before it is signed: after a crash the same is asked for again, never another.
            var cosignature = own.Signer.Cosign(note.Text, clock.GetUtcNow().ToUnixTimeSeconds());
            _folder.Replace(FileOf(checkpoint.Origin), note.With(cosignature).ToBytes());
            _folder.SyncNames();
            return (200, $"{cosignature}\n");
        }
    }

    private static string FileOf(string origin) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(origin)));
}

/// <summary>Keys in the settings.</summary>
internal static class WitnessKeys
{
    /// <exception cref="SettingException">The text is no key.</exception>
    public static NoteKey Read(string text) =>
        NoteKey.TryParse(text, out var key) ? key : throw new SettingException($"'{text}' is no key of a log or witness; accepted: name+id+base64, as GET /audit/key gives it.");
}
