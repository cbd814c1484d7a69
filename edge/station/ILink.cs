using Yizhan.Contracts;
using Yizhan.Link;
using Yizhan.Storage;

namespace Yizhan.Station;

/// <summary>The line to the centre as the shipper sees it: <see cref="HttpLink"/> in production, a direct call of the intake in a simulation.</summary>
/// <remarks>
/// Each call throws <see cref="LinkRefusedException"/> when the centre answered with a refusal, and <see cref="LinkDownException"/>
/// when there was no answer: then nothing is known about what the centre did.
/// </remarks>
internal interface ILink
{
    /// <summary>High-water marks for an epoch of this site; also the cheapest way to learn that the line works.</summary>
    Task<LinkMarks> MarksAsync(Guid epoch, CancellationToken cancellationToken);

    /// <summary>Sends entries; returns the lane's mark.</summary>
    Task<long> SendAsync(EntryBatch batch, CancellationToken cancellationToken);

    /// <summary>Asks which bytes of some blobs are missing at the centre.</summary>
    Task<MissingAnswer> MissingAsync(MissingQuestion question, CancellationToken cancellationToken);

    /// <summary>Sends a run of chunks; true when the blob is complete.</summary>
    Task<bool> PutAsync(BlobRef blob, long offset, ReadOnlyMemory<byte> run, CancellationToken cancellationToken);

    /// <summary>Reports the site's status.</summary>
    Task ReportAsync(SiteStatus status, CancellationToken cancellationToken);

    /// <summary>Completes when, after a failure, something says that the line is back; perhaps never.</summary>
    Task ReturnAsync(CancellationToken cancellationToken);
}

/// <summary>The line gave no answer. The message is for the operator.</summary>
internal sealed class LinkDownException(string message, Exception? inner = null) : Exception(message, inner);
