using System.Buffers;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Yizhan.Contracts;
using Yizhan.Fleet.Accounts;
using Yizhan.Fleet.Enrolment;
using Yizhan.Fleet.Models;
using Yizhan.Fleet.Releases;
using Yizhan.Link;
using Yizhan.Platform.Certificates;
using ZstdSharp;

namespace Yizhan.Fleet;

/// <summary>The link's routes over HTTP: who calls, the body with its digest, and problems (RFC 9457). The decisions are the intake's.</summary>
internal sealed partial class LinkEndpoints
{
    private const int BusySeconds = 1;

    private readonly LinkIntake _intake;
    private readonly ReleaseCentre _releases;
    private readonly EnrolmentDesk _desk;
    private readonly AccountDesk _accounts;
    private readonly ModelBook _models;
    private readonly Revocations _revocations;
    private readonly BodyBudget _budget;
    private readonly ILogger _logger;

    // A connection has one certificate for all of its requests.
    private readonly ConditionalWeakTable<X509Certificate2, CertificateHolder> _holders = new();

    private LinkEndpoints(
        LinkIntake intake, ReleaseCentre releases, EnrolmentDesk desk, AccountDesk accounts, ModelBook models, Revocations revocations, BodyBudget budget, ILogger logger) =>
        (_intake, _releases, _desk, _accounts, _models, _revocations, _budget, _logger) = (intake, releases, desk, accounts, models, revocations, budget, logger);

    public static void Map(
        IEndpointRouteBuilder routes, LinkIntake intake, ReleaseCentre releases, EnrolmentDesk desk, AccountDesk accounts, ModelBook models, Revocations revocations,
        BodyBudget budget, ILoggerFactory loggers)
    {
        var link = new LinkEndpoints(intake, releases, desk, accounts, models, revocations, budget, loggers.CreateLogger<LinkEndpoints>());
        routes.MapGet(LinkRoutes.Marks, context => link.AnswerAsync(context, link.MarksAsync));
        routes.MapPost(LinkRoutes.Entries, context => link.AnswerAsync(context, link.EntriesAsync));
        routes.MapPost(LinkRoutes.Missing, context => link.AnswerAsync(context, link.MissingAsync));
        routes.MapPut(LinkRoutes.Chunks, context => link.AnswerAsync(context, link.ChunksAsync));
        routes.MapPut(LinkRoutes.Status, context => link.AnswerAsync(context, link.StatusAsync));
        routes.MapGet(LinkRoutes.Release, context => link.AnswerAsync(context, link.ReleaseAsync));
        routes.MapPost(LinkRoutes.Certificate, context => link.AnswerAsync(context, link.CertificateAsync));
        routes.MapGet(LinkRoutes.Revocations, context => link.AnswerAsync(context, link.RevocationsAsync));
        routes.MapGet(LinkRoutes.Accounts, context => link.AnswerAsync(context, link.AccountsAsync));
        routes.MapGet(LinkRoutes.Rollouts, context => link.AnswerAsync(context, link.RolloutsAsync));
    }

    private async Task CertificateAsync(HttpContext context, SitePrincipal site)
    {
        using var body = await ReadAsync(context, site);
        var request = Json(body.Bytes, EnrolmentJson.Default.RenewalRequest).Request
            ?? throw Refused(400, "No request.", "Expected {\"request\":…} with PKCS #10 in PEM.");
        try
        {
            var answer = await _desk.RenewAsync(site, request, site.SpiffeId.ToString(), context.RequestAborted);
            await WriteAsync(context, answer, EnrolmentJson.Default.CertificateAnswer);
        }
        catch (CertificateRefusedException e)
        {
            throw Refused(422, "No certificate for this request.", e.Message);
        }
    }

    private async Task AccountsAsync(HttpContext context, SitePrincipal site)
    {
        if (await _accounts.ListAsync(site.SiteId, After(context, "list"), context.RequestAborted) is not { } list)
        {
            context.Response.StatusCode = StatusCodes.Status204NoContent;
            return;
        }

        context.Response.ContentType = "application/jose";
        context.Response.ContentLength = list.Length;
        await context.Response.WriteAsync(list, context.RequestAborted);
    }

    private Task RolloutsAsync(HttpContext context, SitePrincipal site) =>
        WriteAsync(context, _models.Orders(site.SiteId, After(context, "order")), ContractsJson.Default.IReadOnlyListRolloutOrder);

    private static long After(HttpContext context, string what) =>
        long.TryParse(context.Request.Query["after"], NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? number
            : throw Refused(400, "No number.", $"Expected ?after= with the number of the newest {what} that is known; 0 for none.");

    private Task RevocationsAsync(HttpContext context, SitePrincipal site) =>
        WriteAsync(context, new RevocationDelta(_revocations.After(After(context, "revocation"))), EnrolmentJson.Default.RevocationDelta);

    private async Task MarksAsync(HttpContext context, SitePrincipal site)
    {
        var epoch = Guid.TryParse(context.Request.Query["epoch"], out var parsed)
            ? parsed
            : throw Refused(400, "No epoch.", "Expected ?epoch= with a UUID.");
        await WriteAsync(context, await _intake.MarksAsync(site, epoch, context.RequestAborted), LinkJson.Default.LinkMarks);
    }

    private async Task EntriesAsync(HttpContext context, SitePrincipal site)
    {
        using var body = await ReadAsync(context, site);
        EntryBatch batch;
        try
        {
            // The log may keep views of the data longer than this request lasts, so the batch gets memory of its own.
            batch = EntryBatch.Parse(body.Bytes.ToArray());
        }
        catch (InvalidDataException e)
        {
            throw Refused(400, "Not a batch of entries.", e.Message);
        }

        await WriteAsync(context, await _intake.TakeAsync(site, batch, context.RequestAborted), LinkJson.Default.LinkMark);
    }

    private async Task MissingAsync(HttpContext context, SitePrincipal site)
    {
        using var body = await ReadAsync(context, site);
        var question = Json(body.Bytes, LinkJson.Default.MissingQuestion);
        await WriteAsync(context, await _intake.MissingAsync(site, question, context.RequestAborted), LinkJson.Default.MissingAnswer);
    }

    private async Task ChunksAsync(HttpContext context, SitePrincipal site)
    {
        var sha256 = (string)context.Request.RouteValues["sha256"]!;
        var index = long.Parse((string)context.Request.RouteValues["index"]!, CultureInfo.InvariantCulture);
        var length = long.TryParse(context.Request.Query["length"], NumberStyles.None, CultureInfo.InvariantCulture, out var parsed)
            ? parsed
            : throw Refused(400, "No length.", "Expected ?length= with the length of the whole blob in bytes.");
        using var body = await ReadAsync(context, site);

        // Not cancelled with the request: the commit under way reads memory that goes back to the pool after this call.
        var answer = await _intake.PutAsync(site, sha256, length, index, body.Bytes, CancellationToken.None);
        await WriteAsync(context, answer, LinkJson.Default.ChunkAnswer);
    }

    private async Task StatusAsync(HttpContext context, SitePrincipal site)
    {
        using var body = await ReadAsync(context, site);
        _intake.Report(site, Json(body.Bytes, ContractsJson.Default.SiteStatus));
        context.Response.StatusCode = StatusCodes.Status204NoContent;
    }

    private async Task ReleaseAsync(HttpContext context, SitePrincipal site)
    {
        var query = context.Request.Query;
        if (_releases.Offer(site.SiteId, query["running"], query["refused"]) is not { } release)
        {
            context.Response.StatusCode = StatusCodes.Status204NoContent;
            return;
        }

        var bytes = release.ToBytes();
        context.Response.ContentType = "application/x-tar";
        context.Response.ContentLength = bytes.Length;
        await context.Response.Body.WriteAsync(bytes, context.RequestAborted);
    }

    private async Task AnswerAsync(HttpContext context, Func<HttpContext, SitePrincipal, Task> answer)
    {
        // The handshake has checked the certificate already; without one there is no connection. But a connection may be older than
        // the revocation of its certificate.
        var holder = _holders.GetValue(context.Connection.ClientCertificate!, CertificateHolder.Of);
        var site = holder.Site!;
        try
        {
            if (_revocations.Has(holder))
            {
                throw Refused(403, "The certificate is revoked.", "Enrol again: yizhan site enrol-token.");
            }

            await answer(context, site);
        }
        catch (LinkRefusedException e)
        {
            await ProblemAsync(context, e.Problem);
        }
        catch (Exception e) when (e is OperationCanceledException || context.RequestAborted.IsCancellationRequested)
        {
            // The site went away in the middle; it will come again. Nothing was promised.
            WentAway(site.SiteId, context.Request.Path, e.Message);
        }
        catch (IOException e)
        {
            Failed(e, site.SiteId, context.Request.Path);
            await ProblemAsync(context, new LinkProblem(503, "The centre cannot store now.", RetryAfterSeconds: 60));
        }
    }

    /// <summary>Reads a body of known length, compares its digest and expands it; never more memory than the bounds of the link.</summary>
    private async Task<Body> ReadAsync(HttpContext context, SitePrincipal site)
    {
        var request = context.Request;
        if (request.ContentLength is not { } length)
        {
            throw Refused(411, "No Content-Length.", "The link needs to know how much comes.");
        }

        if (length > LinkRoutes.MaxBodyBytes)
        {
            throw Refused(413, "The body is too large.", $"It has {length} bytes; {LinkRoutes.MaxBodyBytes} may be.");
        }

        var compressed = request.Headers.ContentEncoding is [LinkRoutes.Zstd];
        if (!compressed && request.Headers.ContentEncoding.Count > 0)
        {
            throw Refused(415, "Unknown content coding.", "Accepted: zstd, or none.");
        }

        var reserved = compressed ? length + LinkRoutes.MaxBodyBytes : length;
        if (!_budget.TryTake(site.SiteId, reserved))
        {
            throw new LinkRefusedException(new LinkProblem(
                503, "Too much is on its way in.", RetryAfterSeconds: BusySeconds));
        }

        var body = new Body(_budget, site.SiteId, reserved);
        try
        {
            var bytes = body.Rent((int)length);
            await FillAsync(request.Body, bytes, context.RequestAborted);
            CompareDigest(request, bytes.Span);
            body.Bytes = compressed ? Expand(bytes.Span, body) : bytes;
            return body;
        }
        catch
        {
            body.Dispose();
            throw;
        }
    }

    private static async Task FillAsync(Stream body, Memory<byte> bytes, CancellationToken cancellationToken)
    {
        try
        {
            await body.ReadExactlyAsync(bytes, cancellationToken);
        }
        catch (IOException e)
        {
            // The connection broke in the middle of the body: the site's trouble, not that of our disk.
            throw new OperationCanceledException(e.Message, e);
        }
    }

    private static void CompareDigest(HttpRequest request, ReadOnlySpan<byte> bytes)
    {
        var expected = $"sha-256=:{Convert.ToBase64String(SHA256.HashData(bytes))}:";
        if (request.Headers[LinkRoutes.ContentDigest] is not [var digest] || digest != expected)
        {
            throw Refused(400, "The digest does not match.", $"Expected {LinkRoutes.ContentDigest} (RFC 9530) with sha-256 of the body.");
        }
    }

    private static Memory<byte> Expand(ReadOnlySpan<byte> bytes, Body body)
    {
        try
        {
            var size = Decompressor.GetDecompressedSize(bytes);
            if (size > LinkRoutes.MaxBodyBytes)
            {
                throw Refused(413, "The body is too large.", $"It expands to more than {LinkRoutes.MaxBodyBytes} bytes.");
            }

            var expanded = body.Rent((int)size);
            using var zstd = new Decompressor();
            return expanded[..zstd.Unwrap(bytes, expanded.Span)];
        }
        catch (ZstdException e)
        {
            throw Refused(400, "Not zstd.", e.Message);
        }
    }

    private static T Json<T>(ReadOnlyMemory<byte> body, JsonTypeInfo<T> type) where T : class
    {
        try
        {
            return JsonSerializer.Deserialize(body.Span, type) ?? throw new JsonException("null");
        }
        catch (JsonException e)
        {
            throw Refused(400, "Not the expected JSON.", e.Message);
        }
    }

    private static Task WriteAsync<T>(HttpContext context, T value, JsonTypeInfo<T> type)
    {
        var json = JsonSerializer.SerializeToUtf8Bytes(value, type);
        context.Response.ContentType = "application/json";
        context.Response.ContentLength = json.Length;
        return context.Response.Body.WriteAsync(json, context.RequestAborted).AsTask();
    }

    private static async Task ProblemAsync(HttpContext context, LinkProblem problem)
    {
        context.Response.StatusCode = problem.Status;
        if (problem.RetryAfterSeconds is { } seconds)
        {
            context.Response.Headers.RetryAfter = seconds.ToString(CultureInfo.InvariantCulture);
        }

        var json = JsonSerializer.SerializeToUtf8Bytes(problem, LinkJson.Default.LinkProblem);
        context.Response.ContentType = "application/problem+json";
        context.Response.ContentLength = json.Length;
        await context.Response.Body.WriteAsync(json, context.RequestAborted);
    }

    private static LinkRefusedException Refused(int status, string title, string detail) =>
        new(new LinkProblem(status, title, detail));

    /// <summary>A body in rented memory, with its share of the budget.</summary>
    private sealed class Body(BodyBudget budget, string site, long reserved) : IDisposable
    {
        private readonly List<byte[]> _rented = new(2);

        public Memory<byte> Bytes { get; set; }

        public Memory<byte> Rent(int length)
        {
            var array = ArrayPool<byte>.Shared.Rent(length);
            _rented.Add(array);
            return array.AsMemory(0, length);
        }

        public void Dispose()
        {
            foreach (var array in _rented)
            {
                ArrayPool<byte>.Shared.Return(array);
            }

            _rented.Clear();
            budget.Release(site, reserved);
        }
    }

    [LoggerMessage(9020, LogLevel.Debug, "Site {Site} went away during {Path}: {Reason}")]
    private partial void WentAway(string site, string path, string reason);

    [LoggerMessage(9021, LogLevel.Error, "What site {Site} sent to {Path} could not be stored.")]
    private partial void Failed(Exception e, string site, string path);
}
