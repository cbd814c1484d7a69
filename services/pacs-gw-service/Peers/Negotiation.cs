using System.Collections.Frozen;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;

namespace Yizhan.PacsGw.Peers;

/// <summary>What we agree to when a peer proposes an association: the one place that says which SOP classes are served.</summary>
internal static class Negotiation
{
    /// <summary>Transfer syntaxes that instances are stored in: all that are known, but those of video over DICOM-RTV and of JPIP.</summary>
    private static readonly FrozenSet<string> Storage = DicomTransferSyntax.All
        .Select(s => s.Uid)
        .Where(uid => !uid.StartsWith("1.2.840.10008.1.2.6.", StringComparison.Ordinal)
            && !uid.StartsWith("1.2.840.10008.1.2.7.", StringComparison.Ordinal))
        .ToFrozenSet();

    private static readonly FrozenSet<string> Uncompressed =
        new[] { DicomTransferSyntax.ImplicitVrLittleEndian.Uid, DicomTransferSyntax.ExplicitVrLittleEndian.Uid }.ToFrozenSet();

    /// <summary>SOP classes besides storage, and the service that a peer needs for them; null for all peers.</summary>
    public static IReadOnlyDictionary<string, PeerService?> Services { get; } = new Dictionary<string, PeerService?>
    {
        [DicomUids.Verification] = null,
        [DicomUids.PatientRootFind] = PeerService.Query,
        [DicomUids.StudyRootFind] = PeerService.Query,
        [DicomUids.PatientRootMove] = PeerService.Retrieve,
        [DicomUids.StudyRootMove] = PeerService.Retrieve,
        [DicomUids.PatientRootGet] = PeerService.Retrieve,
        [DicomUids.StudyRootGet] = PeerService.Retrieve,
        [DicomUids.ModalityWorklistFind] = PeerService.Worklist,
        [DicomUids.StorageCommitmentPushModel] = PeerService.Commitment,
        [DicomUids.ModalityPerformedProcedureStep] = PeerService.ProcedureStep,
    }.ToFrozenDictionary();

    /// <summary>Accepts what the peer may have.</summary>
    /// <param name="request">What it proposes.</param>
    /// <param name="peer">Who it is.</param>
    /// <param name="stores">True for the storage SOP classes that are taken.</param>
    public static AssociateAnswer Answer(AssociateRequest request, PeerOptions peer, Func<string, bool> stores)
    {
        var roles = request.Roles.Where(r => r.Scp).ToDictionary(r => r.SopClassUid, StringComparer.Ordinal);
        var retrieves = PeerDirectory.Allows(peer, PeerService.Retrieve);
        var accepted = AssociateAnswer.Accept(request, sopClass =>
            Services.TryGetValue(sopClass, out var service) ? (service is null || PeerDirectory.Allows(peer, service.Value) ? Uncompressed : null)
            : stores(sopClass) && (PeerDirectory.Allows(peer, PeerService.Store) || (retrieves && roles.ContainsKey(sopClass))) ? Storage
            : null);
        return accepted with
        {
            // PS3.7 §D.3.3.4: a requestor of C-GET takes the instances that we send, a reporter of commitment tells us its result.
            Roles = [.. request.Roles.Where(r =>
                r.Scp && (r.SopClassUid == DicomUids.StorageCommitmentPushModel || (retrieves && stores(r.SopClassUid))))],
            ExtendedNegotiations = [.. request.ExtendedNegotiations.Where(e => Services.ContainsKey(e.SopClassUid)).Select(Answer)],
        };
    }

    /// <summary>
    /// PS3.4 §C.5.1.1.1: relational queries are always possible; combined matching of dates and times, and fuzzy matching of names, are done
    /// when they are asked for; times are not adjusted to zones, and enhanced images are not converted.
    /// </summary>
    private static ExtendedNegotiation Answer(ExtendedNegotiation asked)
    {
        var answer = asked.Information.ToArray();
        for (var i = 0; i < answer.Length; i++)
        {
            answer[i] = i <= 2 ? answer[i] : (byte)0;
        }

        return asked with { Information = answer };
    }
}
