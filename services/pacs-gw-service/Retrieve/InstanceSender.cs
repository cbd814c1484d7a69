using Yizhan.Dicom;
using Yizhan.Dicom.Network;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.Codecs;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Retrieve;

/// <summary>Sends stored instances: as they are where the receiver takes that, else decoded, or in the other uncompressed form.</summary>
internal static class InstanceSender
{
    /// <summary>What is sent instead to who does not take an instance as it is stored, in this order.</summary>
    public static readonly IReadOnlyList<DicomTransferSyntax> Uncompressed =
        [DicomTransferSyntax.ExplicitVrLittleEndian, DicomTransferSyntax.ImplicitVrLittleEndian];

    /// <summary>Sends.</summary>
    /// <param name="sender">To whom; it is told of each answer.</param>
    /// <param name="blobs">Where the data sets are.</param>
    /// <param name="transcoder">Decodes them.</param>
    /// <param name="instances">What.</param>
    /// <param name="failed">Told of each instance that did not arrive, and why.</param>
    /// <param name="cancellationToken">Gives up; the association is aborted.</param>
    /// <returns>How many arrived.</returns>
    /// <exception cref="AssociationException">The first association could not be opened; nothing was sent.</exception>
    public static async Task<int> SendAsync(
        StoreScu sender,
        IBlobStore blobs,
        Transcoder transcoder,
        IReadOnlyList<StoredInstance> instances,
        Action<StoredInstance, string> failed,
        CancellationToken cancellationToken)
    {
        var arrived = 0;
        var refused = await SendAsync(instances, i => DicomTransferSyntax.Get(i.TransferSyntaxUid));
        foreach (var syntax in Uncompressed)
        {
            var convertible = refused.Where(i => i.TransferSyntaxUid != syntax.Uid && Transcoder.Can(i.TransferSyntaxUid, syntax.Uid)).ToHashSet();
            if (convertible.Count > 0)
            {
                refused = [.. refused.Where(i => !convertible.Contains(i)), .. await SendAsync([.. convertible], _ => syntax)];
            }
        }

        foreach (var instance in refused)
        {
            failed(instance, $"The receiver does not take transfer syntax {instance.TransferSyntaxUid} of SOP class {instance.SopClassUid}.");
        }

        return arrived;

        // Returns what the receiver accepts in no presentation context of this kind.
        async Task<IReadOnlyList<StoredInstance>> SendAsync(IReadOnlyList<StoredInstance> some, Func<StoredInstance, DicomTransferSyntax> syntaxOf)
        {
            var results = await sender.SendAsync(
                [.. some.Select(i => new StoreInstance(i.SopClassUid, i.SopInstanceUid, syntaxOf(i).Uid, () => new DataSetStream(blobs, transcoder, i, syntaxOf(i))))],
                cancellationToken);
            var notAccepted = new List<StoredInstance>();
            for (var i = 0; i < results.Count; i++)
            {
                var result = results[i];
                if (result.Outcome == StoreOutcome.NotAccepted)
                {
                    notAccepted.Add(some[i]);
                }
                else if (result.IsStored)
                {
                    arrived++;
                }
                else
                {
                    failed(some[i], result.Outcome == StoreOutcome.Answered
                        ? $"Status 0x{result.Status:X4}{(result.Message is null ? "" : ": " + result.Message)}"
                        : $"{result.Outcome}: {result.Message}");
                }
            }

            return notAccepted;
        }
    }
}
