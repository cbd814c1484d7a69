using Microsoft.Extensions.Options;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.DicomWeb;
using Yizhan.PacsGw.Peers;

namespace Yizhan.PacsGw.Query;

/// <summary>C-FIND of the archive (PS3.4 §C.4.1) and of the modality worklist (PS3.4 §K.4.1).</summary>
internal sealed class FindScp(
    ArchiveDatabase database, ArchiveProgress progress, ReadAudit audit, IOptions<PacsGwOptions> options)
{
    /// <summary>Answers one C-FIND-RQ.</summary>
    /// <param name="association">Where it came.</param>
    /// <param name="message">The request.</param>
    /// <param name="cancelled">Cancelled by C-CANCEL.</param>
    /// <param name="cancellationToken">The association ends.</param>
    public async Task ServeAsync(
        PeerAssociation association, DimseMessage message, CancellationToken cancelled, CancellationToken cancellationToken)
    {
        if (await association.ReadAsync(message, cancellationToken) is not { } identifier)
        {
            return;
        }

        // What was acknowledged before this request came can be found by it.
        await progress.ReachedNowAsync(cancellationToken);
        var (status, comment) = (DimseStatus.Success, (string?)null);
        try
        {
            await FindAsync(association, message, identifier, cancelled, cancellationToken);
        }
        catch (QueryException e)
        {
            (status, comment) = (DimseStatus.IdentifierDoesNotMatch, e.Message);
        }
        catch (TooManyResultsException e)
        {
            (status, comment) = (DimseStatus.OutOfResources, e.Message);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            status = DimseStatus.Cancel;
        }

        await association.RespondAsync(message, status, comment, cancellationToken);
    }

    private async Task FindAsync(
        PeerAssociation association, DimseMessage message, DicomDataset identifier, CancellationToken cancelled, CancellationToken cancellationToken)
    {
        var sopClass = message.PresentationContext.AbstractSyntax;
        var isWorklist = sopClass == DicomUids.ModalityWorklistFind;
        var limit = options.Value.MaxFindResults;
        bool partly;
        var query = isWorklist
            ? QueryIdentifier.ForWorklist(identifier, limit, out partly)
            : QueryIdentifier.ForFind(identifier, sopClass, association.Negotiated(sopClass).Span, limit, out partly);
        var keys = string.Join(' ', query.Matches.Select(m => m.Key.Keyword).Order(StringComparer.Ordinal));
        await audit.RecordAsync(
            ReadAudit.Query, association.Agent, isWorklist ? "query/worklist" : $"query/{query.Level}".ToLowerInvariant(),
            keys.Length == 0 ? "all" : $"by {keys}", cancellationToken);

        var characterSet = association.Peer.CharacterSet?.Split('\\') ?? identifier.CharacterSet.Terms;
        var answer = new FindAnswer(identifier, options.Value.AeTitle, characterSet);
        using var search = new ArchiveSearch(database, TimeSpan.FromSeconds(options.Value.MaxSearchSeconds), cancelled);
        using var rows = isWorklist ? search.OpenWorklist(query) : search.Open(query);
        var pending = partly ? DimseStatus.PendingWithWarning : DimseStatus.Pending;
        for (var sent = 0; search.Read(rows); sent++)
        {
            if (sent == limit)
            {
                throw new TooManyResultsException($"More than {limit} match: narrow the query.");
            }

            cancelled.ThrowIfCancellationRequested();
            await association.RespondAsync(
                message,
                message.Command.CreateResponse(pending),
                isWorklist ? answer.Of((byte[])rows[0]) : answer.Of(rows, query, search),
                cancellationToken);
        }
    }

    private sealed class TooManyResultsException(string message) : Exception(message);
}
