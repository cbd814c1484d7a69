using System.Net.Sockets;
using Yizhan.Dicom.Network;

namespace Yizhan.Drills;

/// <summary>A modality: sends files over real associations and writes down each answer. Retries what was not answered.</summary>
public sealed class Scanner(int port, Ledger ledger)
{
    /// <summary>AE title under which it calls.</summary>
    public const string AeTitle = "YIZHAN-SCU";

    /// <summary>Answers with success so far.</summary>
    public int Stored => _stored;

    private int _stored;

    /// <summary>Sends the files once. What got no answer comes back, to be sent again: the peer may have it or not.</summary>
    public async Task<List<InstanceFile>> SendAsync(IReadOnlyList<InstanceFile> files, CancellationToken cancellationToken)
    {
        var scu = new StoreScu(
            (request, token) => Connector.RequestAsync("127.0.0.1", port, request, new AssociationOptions(), TimeProvider.System, token),
            AeTitle, LocalSite.AeTitle)
        {
            Answered = result => Interlocked.Add(ref _stored, result.IsStored ? 1 : 0),
        };
        IReadOnlyList<StoreResult> results;
        try
        {
            results = await scu.SendAsync([.. files.Select(file => file.Instance)], cancellationToken);
        }
        catch (Exception e) when (e is AssociationException or SocketException or IOException)
        {
            return [.. files];
        }

        var unanswered = new List<InstanceFile>();
        for (var i = 0; i < files.Count; i++)
        {
            var result = results[i];
            if (result.IsStored)
            {
                ledger.Acknowledge(files[i].Name, files[i].Sha256);
            }
            else if (result.Outcome is StoreOutcome.Unknown or StoreOutcome.NotSent)
            {
                unanswered.Add(files[i]);
            }
            else
            {
                ledger.Refuse(files[i].Name, result.Status is { } status ? $"0x{status:X4} {result.Message}" : result.Message ?? $"{result.Outcome}");
            }
        }

        return unanswered;
    }

    /// <summary>Sends until every file has an answer; gives up after 120 attempts, half a second apart.</summary>
    /// <exception cref="InvalidOperationException">The site did not answer for so long.</exception>
    public async Task SendAllAsync(IReadOnlyList<InstanceFile> files, CancellationToken cancellationToken)
    {
        var left = files.ToList();
        for (var attempt = 0; left.Count > 0; attempt++)
        {
            if (attempt > 0)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(500), TimeProvider.System, cancellationToken);
            }

            if (attempt == 120)
            {
                throw new InvalidOperationException($"{left.Count} instances got no answer from the site in 120 attempts.");
            }

            left = await SendAsync(left, cancellationToken);
        }
    }
}
