using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;
using Yizhan.Inventory.Equipment;

namespace Yizhan.Inventory.Collect;

/// <summary>Asks a modality by C-ECHO (PS3.4 annex A) whether it is there.</summary>
internal sealed class DicomEcho(TimeProvider clock)
{
    /// <summary>Asks once; what does not answer is a failed run.</summary>
    public async Task<bool> ReadAsync(SourceOptions source, Sink sink, CancellationToken cancellationToken)
    {
        var request = new AssociateRequest
        {
            CalledAeTitle = source.AeTitle!,
            CallingAeTitle = source.CallingAeTitle,
            PresentationContexts = [new PresentationContext(1, DicomUids.Verification, [DicomTransferSyntax.ImplicitVrLittleEndian.Uid])],
        };
        await using var association = await Connector.RequestAsync(source.Host!, source.Port ?? 104, request, new AssociationOptions(), clock, cancellationToken);
        await new DimseScu(association).EchoAsync(cancellationToken);
        await association.ReleaseAsync(cancellationToken);
        var now = sink.NowMs;
        await sink.ReportAsync(
            new AssetReported(
                source.Name, $"{now}", now, "modality", source.AeTitle!, "", "", AssetKeys.All(("ae", $"{source.AeTitle}@{source.Host}")), [source.Host!], []),
            cancellationToken);
        return true;
    }
}
