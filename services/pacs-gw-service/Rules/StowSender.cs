using System.Net;
using System.Net.Http.Headers;
using System.Text;
using Yizhan.Dicom;
using Yizhan.DicomWeb;
using Yizhan.PacsGw.Codecs;

namespace Yizhan.PacsGw.Rules;

/// <summary>What became of a copy that was sent by STOW-RS.</summary>
internal enum StowOutcome
{
    /// <summary>The server says that it has it.</summary>
    Stored,

    /// <summary>The server refuses this instance; others may go on.</summary>
    Refused,

    /// <summary>The server takes nothing now, or did not say what became of it. Sent again later; a server that has it already keeps one.</summary>
    Later,
}

/// <summary>A copy and what became of it.</summary>
internal sealed record StowResult(OpenCopy Copy, StowOutcome Outcome, string Reason);

/// <summary>Stores copies at a DICOMweb server, many in one request, and reads of its answer what became of each.</summary>
internal sealed class StowSender : IDisposable
{
    /// <summary>Failure reasons (PS3.18 Table I.2.2-1): no room, and a transfer syntax that the server does not take.</summary>
    private const int OutOfResources = 0xA700, TransferSyntaxNotSupported = 0xC122;

    private readonly HttpClient _http;
    private readonly string _aeTitle;

    /// <param name="destination">Where to; its files are read now, so that a password or token that was changed counts from the next batch on.</param>
    /// <param name="aeTitle">Ours.</param>
    /// <exception cref="IOException">The password or the token cannot be read.</exception>
    public StowSender(Destination destination, string aeTitle)
    {
        _aeTitle = aeTitle;

        // A body may take as long as it must; DicomWebClient watches over the answer. A redirection would take the token elsewhere.
        _http = new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false, ConnectTimeout = TimeSpan.FromSeconds(10) })
        {
            BaseAddress = new Uri(destination.Url!),
            Timeout = TimeSpan.FromMinutes(10),
        };
        _http.DefaultRequestHeaders.Authorization = destination switch
        {
            { TokenFile: { } file } => new AuthenticationHeaderValue("Bearer", FirstLine(file)),
            { User: { } user } => new AuthenticationHeaderValue(
                "Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"{user}:{(destination.PasswordFile is { } file ? FirstLine(file) : "")}"))),
            _ => null,
        };
    }

    /// <summary>Sends copies of different instances.</summary>
    /// <param name="copies">Which.</param>
    /// <param name="decode">Opens a copy decoded, for a server that does not take it as it is.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="HttpRequestException">The server does not answer.</exception>
    public async Task<IReadOnlyList<StowResult>> SendAsync(
        IReadOnlyList<OpenCopy> copies, Func<OpenCopy, DicomTransferSyntax, Stream> decode, CancellationToken cancellationToken)
    {
        StowAnswer answer;
        try
        {
            answer = await StoreAsync(copies, null, cancellationToken);
        }
        catch (DicomWebException e) when (e.Status is HttpStatusCode.BadRequest or HttpStatusCode.Conflict or HttpStatusCode.RequestEntityTooLarge
            or HttpStatusCode.UnsupportedMediaType or HttpStatusCode.UnprocessableEntity)
        {
            // One of them, or their sum, is too much for it, and it does not say which: each on its own.
            return copies is [var only] ? [new(only, StowOutcome.Refused, e.Message)] : await OneByOneAsync(copies, decode, cancellationToken);
        }
        catch (DicomWebException e)
        {
            return [.. copies.Select(c => new StowResult(c, StowOutcome.Later, e.Message))];
        }

        var results = copies.Select(c => Read(answer, c)).ToArray();
        for (var i = 0; i < results.Length; i++)
        {
            var native = DicomTransferSyntax.ExplicitVrLittleEndian;
            if (answer.Failed.Any(f => f.SopInstanceUid == copies[i].SopInstanceUid && f.Reason == TransferSyntaxNotSupported) && copies[i].CanBe(native))
            {
                results[i] = await DecodedAsync(copies[i], native, decode, cancellationToken);
            }
        }

        return results;
    }

    public void Dispose() => _http.Dispose();

    private async Task<StowResult> DecodedAsync(
        OpenCopy copy, DicomTransferSyntax syntax, Func<OpenCopy, DicomTransferSyntax, Stream> decode, CancellationToken cancellationToken)
    {
        try
        {
            return Read(await StoreAsync([copy], c => (decode(c, syntax), syntax), cancellationToken), copy);
        }
        catch (DicomWebException e)
        {
            return new(copy, StowOutcome.Later, e.Message);
        }
        catch (CodecException e)
        {
            return new(copy, StowOutcome.Refused, $"it is not taken as it is, and cannot be decoded: {e.Message}");
        }
    }

    private async Task<IReadOnlyList<StowResult>> OneByOneAsync(
        IReadOnlyList<OpenCopy> copies, Func<OpenCopy, DicomTransferSyntax, Stream> decode, CancellationToken cancellationToken)
    {
        var results = new List<StowResult>();
        foreach (var copy in copies)
        {
            results.AddRange(await SendAsync([copy], decode, cancellationToken));
        }

        return results;
    }

    private Task<StowAnswer> StoreAsync(
        IReadOnlyList<OpenCopy> copies, Func<OpenCopy, (Stream, DicomTransferSyntax)>? decoded, CancellationToken cancellationToken) =>
        new DicomWebClient(_http).StoreAsync(
            null, copies.Select(copy => (Func<Stream, CancellationToken, Task>)((body, cancel) => copy.WriteFileAsync(body, _aeTitle, cancel, decoded?.Invoke(copy)))), cancellationToken);

    private static StowResult Read(StowAnswer answer, OpenCopy copy)
    {
        if (answer.Failed.FirstOrDefault(f => f.SopInstanceUid == copy.SopInstanceUid) is { } failed)
        {
            return (failed.Reason & 0xFF00) == OutOfResources
                ? new(copy, StowOutcome.Later, $"it has no room ({failed.Reason:X4})")
                : new(copy, StowOutcome.Refused, failed.Reason is { } reason ? $"refused with failure reason {reason:X4}" : "refused without a failure reason");
        }

        return answer.Stored.Contains(copy.SopInstanceUid)
            ? new(copy, StowOutcome.Stored, "")
            : new(copy, StowOutcome.Later, "the answer does not say what became of the instance");
    }

    private static string FirstLine(string path)
    {
        try
        {
            return File.ReadLines(path).FirstOrDefault()?.Trim() ?? "";
        }
        catch (UnauthorizedAccessException e)
        {
            throw new IOException(e.Message, e);
        }
    }
}
