using System.Security.Cryptography;
using System.Text.Json;

namespace Yizhan.Drills;

/// <summary>A record that the audit service has proven to be in its log.</summary>
/// <param name="Id">Id of the record.</param>
/// <param name="Index">Its place.</param>
/// <param name="Size">Size of the tree in which it was proven.</param>
public sealed record ProvenRecord(string Id, long Index, long Size);

/// <summary>Asks an audit service for records and checks their proofs itself, with nothing but SHA-256 (RFC 6962 §2.1.1).</summary>
internal sealed class AuditProof(HttpClient http)
{
    /// <summary>Every record about an entity, oldest first, each with its proof checked.</summary>
    /// <exception cref="InvalidOperationException">A proof is wrong.</exception>
    public async Task<IReadOnlyList<ProvenRecord>> RecordsAsync(string entity, CancellationToken cancellationToken)
    {
        using var found = JsonDocument.Parse(await http.GetStringAsync($"/audit/records?limit=1000&entity={Uri.EscapeDataString(entity)}", cancellationToken));
        var records = new List<ProvenRecord>();
        foreach (var record in found.RootElement.GetProperty("records").EnumerateArray())
        {
            var index = record.GetProperty("index").GetInt64();
            var id = (record.TryGetProperty("id", out var own) ? own : record.GetProperty("leaf").GetProperty("id")).GetString()!;
            records.Add(new ProvenRecord(id, index, await ProveAsync(index, cancellationToken)));
        }

        return [.. records.OrderBy(r => r.Index)];
    }

    private async Task<long> ProveAsync(long index, CancellationToken cancellationToken)
    {
        using var json = JsonDocument.Parse(await http.GetStringAsync($"/audit/records/{index}/proof", cancellationToken));
        var proof = json.RootElement;
        var size = proof.GetProperty("size").GetInt64();
        var hash = SHA256.HashData([0, .. proof.GetProperty("leaf").GetBytesFromBase64()]);
        var (fn, sn) = (index, size - 1);
        foreach (var sibling in proof.GetProperty("proof").EnumerateArray().Select(p => p.GetBytesFromBase64()))
        {
            if ((fn & 1) == 1 || fn == sn)
            {
                hash = SHA256.HashData([1, .. sibling, .. hash]);
                while ((fn & 1) == 0 && fn != 0)
                {
                    (fn, sn) = (fn >> 1, sn >> 1);
                }
            }
            else
            {
                hash = SHA256.HashData([1, .. hash, .. sibling]);
            }

            (fn, sn) = (fn >> 1, sn >> 1);
        }

        // The third line of a checkpoint is the root that the log has signed.
        var root = proof.GetProperty("checkpoint").GetString()?.Split('\n')[2];
        return sn == 0 && Convert.ToBase64String(hash) == root
            ? size
            : throw new InvalidOperationException($"The audit service does not prove entry {index}: the root is {root}, the proof gives {Convert.ToBase64String(hash)}.");
    }
}
