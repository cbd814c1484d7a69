using System.Buffers;
using System.Text.Json;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.DicomWeb;
using Yizhan.PacsGw.Query;
using Yizhan.Platform.Identity;

namespace Yizhan.PacsGw.Peers;

/// <summary>What an operator asks of peers: <c>/pacs-gw/peers</c>. The <c>yizhan dicom</c> commands and the console call these.</summary>
internal static class PeerEndpoints
{
    private const int DefaultLimit = 1000;

    /// <summary>How long a request waits for a report of storage commitment over its own association.</summary>
    private static readonly TimeSpan CommitmentWait = TimeSpan.FromSeconds(5);

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/peers", List).WithSummary("The DICOM peers of this node").Needs(Permission.UsePeers);
        var peer = routes.MapGroup("/peers/{aeTitle}").Needs(Permission.UsePeers);
        peer.MapPost("/echo", (string aeTitle, PeerDirectory peers, PeerClient client, CancellationToken cancel) =>
            AskAsync(aeTitle, peers, async p => Json(await client.EchoAsync(p, cancel), ContractsJson.Default.EchoResult))).WithSummary("C-ECHO");
        peer.MapPost("/find", (string aeTitle, PeerQuery query, HttpContext context, PeerDirectory peers, PeerClient client, ReadAudit audit, CancellationToken cancel) =>
            AskAsync(aeTitle, peers, p => FindAsync(p, query, Model(query), query.Level ?? "STUDY", context, client, audit, cancel))).WithSummary("C-FIND");
        peer.MapPost("/worklist", (string aeTitle, PeerQuery query, HttpContext context, PeerDirectory peers, PeerClient client, ReadAudit audit, CancellationToken cancel) =>
            AskAsync(aeTitle, peers, p => FindAsync(p, query, DicomUids.ModalityWorklistFind, null, context, client, audit, cancel)))
            .WithSummary("C-FIND of the modality worklist");
        peer.MapPost("/move", (string aeTitle, PeerQuery query, IOptions<PacsGwOptions> options, PeerDirectory peers, PeerClient client, CancellationToken cancel) =>
            AskAsync(aeTitle, peers, async p => Json(
                await client.MoveAsync(p, Identifier(query), query.Destination ?? options.Value.AeTitle, cancel), ContractsJson.Default.TransferResult)))
            .WithSummary("C-MOVE");
        peer.MapPost("/get", (string aeTitle, PeerQuery query, PeerDirectory peers, PeerClient client, CancellationToken cancel) =>
            AskAsync(aeTitle, peers, async p => Json(
                await client.GetAsync(p, Identifier(query), cancel), ContractsJson.Default.TransferResult))).WithSummary("C-GET into this archive");
        peer.MapPost("/store", StoreAsync).WithSummary("C-STORE from this archive");
        peer.MapPost("/commit", CommitAsync).WithSummary("Storage commitment of what this archive has");
        routes.MapGet("/commitments/{transactionUid}", Commitment).WithSummary("What a peer answered to our request for commitment").Needs(Permission.UsePeers);
    }

    private static Ok<IReadOnlyList<PeerView>> List(PeerDirectory peers, OpenAssociations open)
    {
        var counts = open.Counts();
        return TypedResults.Ok<IReadOnlyList<PeerView>>(
        [
            .. peers.All.Select(p => new PeerView(
                p.AeTitle, p.Host, p.Port, p.Tls, [.. p.Services.Select(s => s.ToString())], counts.GetValueOrDefault(p.AeTitle))),
        ]);
    }

    private static Task<IResult> StoreAsync(
        string aeTitle, PeerStudy study, HttpContext context, PeerDirectory peers, PeerClient client, StoredInstances stored, ReadAudit audit,
        IOptions<PacsGwOptions> options, CancellationToken cancellationToken) => AskAsync(aeTitle, peers, async peer =>
        {
            var instances = Instances(study, stored, options.Value);
            await audit.RecordAsync(
                ReadAudit.InstancesAccessed, Reader.Of(context), $"study/{study.StudyInstanceUid}", $"sent to {aeTitle}", cancellationToken);
            return Json(await client.StoreAsync(peer, instances, cancellationToken), ContractsJson.Default.TransferResult);
        });

    private static Task<IResult> CommitAsync(
        string aeTitle, PeerStudy study, PeerDirectory peers, PeerClient client, StoredInstances stored, ArchiveDatabase database,
        ArchiveProgress progress, IOptions<PacsGwOptions> options, CancellationToken cancellationToken) => AskAsync(aeTitle, peers, async peer =>
        {
            var transaction = await client.CommitAsync(peer, Instances(study, stored, options.Value), CommitmentWait, cancellationToken);
            await progress.ReachedNowAsync(cancellationToken);
            return Json(Find(database, transaction), ContractsJson.Default.CommitmentView);
        });

    private static Results<Ok<CommitmentView>, ProblemHttpResult> Commitment(string transactionUid, ArchiveDatabase database) =>
        Uid.IsValid(transactionUid)
            ? TypedResults.Ok(Find(database, transactionUid))
            : TypedResults.Problem("The transaction is not a UID: digits and dots, at most 64 characters.", statusCode: 400);

    private static CommitmentView Find(ArchiveDatabase database, string transaction)
    {
        using var db = database.OpenReader();
        using var select = db.Command("SELECT event FROM commitment_received WHERE transaction_uid = $1", transaction);
        return new CommitmentView(
            transaction,
            select.ExecuteScalar() is string found ? JsonSerializer.Deserialize(found, ContractsJson.Default.CommitmentReceived) : null);
    }

    private static async Task<IResult> FindAsync(
        PeerOptions peer, PeerQuery query, string sopClassUid, string? level, HttpContext context, PeerClient client, ReadAudit audit,
        CancellationToken cancellationToken)
    {
        var identifier = PeerClient.Identifier(level, query.Keys);
        await audit.RecordAsync(
            ReadAudit.Query, Reader.Of(context), $"query/{peer.AeTitle}",
            string.Join(' ', query.Keys.Keys.Order(StringComparer.Ordinal)), cancellationToken);
        var found = await client.FindAsync(peer, sopClassUid, identifier, Math.Clamp(query.Limit ?? DefaultLimit, 1, 100_000), cancellationToken);
        var json = new ArrayBufferWriter<byte>();
        json.Write("["u8);
        for (var i = 0; i < found.Count; i++)
        {
            json.Write(i == 0 ? ""u8 : ","u8);
            json.Write(DicomJson.ToUtf8Bytes(found[i]));
        }

        json.Write("]"u8);
        return TypedResults.Bytes(json.WrittenMemory.ToArray(), DicomWebEndpoints.Json);
    }

    /// <summary>Finds the peer, asks it, and tells what went wrong with whom.</summary>
    private static async Task<IResult> AskAsync(string aeTitle, PeerDirectory peers, Func<PeerOptions, Task<IResult>> ask)
    {
        if (peers.Callable(aeTitle) is not { } peer)
        {
            return TypedResults.Problem(
                $"There is no peer '{aeTitle}' with a host in the settings; known are {string.Join(", ", peers.All.Where(p => p.Host is not null).Select(p => p.AeTitle))}.",
                statusCode: 404);
        }

        try
        {
            return await ask(peer);
        }
        catch (QueryException e)
        {
            return TypedResults.Problem(e.Message, statusCode: 400);
        }
        catch (DimseException e)
        {
            return TypedResults.Problem(e.Message, statusCode: 502, extensions: Extension("dimseStatus", e.Status));
        }
        catch (AssociationException e)
        {
            return TypedResults.Problem(e.Message, statusCode: 502, extensions: Extension("association", e.End.ToString()));
        }
    }

    private static Dictionary<string, object?> Extension(string name, object? value) => new() { [name] = value };

    private static JsonHttpResult<T> Json<T>(T value, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type) => TypedResults.Json(value, type);

    private static string Model(PeerQuery query) => query.Level == "PATIENT" ? DicomUids.PatientRootFind : DicomUids.StudyRootFind;

    private static DicomDataset Identifier(PeerQuery query) => PeerClient.Identifier(query.Level ?? "STUDY", query.Keys);

    /// <exception cref="QueryException">There are none, or too many.</exception>
    private static List<StoredInstance> Instances(PeerStudy study, StoredInstances stored, PacsGwOptions options)
    {
        var instances = new List<StoredInstance>();
        while (stored.After(
                   instances.Count == 0 ? 0 : instances[^1].Pk, study.StudyInstanceUid, study.SeriesInstanceUid, study.SopInstanceUid) is { Count: > 0 } step)
        {
            instances.AddRange(step);
            if (instances.Count > options.MaxRetrievedInstances)
            {
                throw new QueryException($"That is more than {options.MaxRetrievedInstances} instances: name a series.");
            }
        }

        return instances.Count > 0 ? instances : throw new QueryException("The archive has no such study, series or instance.");
    }
}
