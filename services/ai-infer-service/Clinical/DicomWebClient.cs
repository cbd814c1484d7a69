using System.Buffers;
using System.Net;
using Microsoft.Extensions.Options;
using Yizhan.Dicom;
using Yizhan.DicomWeb;
using Yizhan.Platform;
using Yizhan.Platform.Flows;
using Yizhan.Platform.Identity;

namespace Yizhan.AiInfer.Clinical;

/// <summary>
/// Studies come from and go to the site's gateway by DICOMweb, as they would with any other archive. Whatever the gateway refuses or fails at is
/// <see cref="HttpRequestException"/>, which the runner takes as "later"; only what the series itself is to blame for is <see cref="SeriesRefusedException"/>.
/// </summary>
internal sealed class DicomWebClient(IOptions<AiInferOptions> options, IOptions<WebOptions> web, IOptions<NodeOptions> node, ServiceTls? tls = null) : IDisposable
{
    // The token of this node's operator is for this node: another gateway does not get it.
    private readonly HttpClient _http = new(new OperatorTokenHandler(
        () => options.Value.DicomWebUrl is null ? OperatorTokenHandler.Read(LocalOperator.PathIn(node.Value.DataFolder)) : null,
        (options.Value.DicomWebService is { Length: > 0 } service ? tls?.Client(service) : null) ?? new SocketsHttpHandler { UseProxy = false, ConnectTimeout = TimeSpan.FromSeconds(5) }))
    {
        BaseAddress = options.Value.DicomWebUrl ?? new Uri(new Uri(web.Value.Url.Split(';')[0]), "pacs-gw/dicom-web/"),
        Timeout = TimeSpan.FromMinutes(10),
    };

    private readonly long _maxBytes = options.Value.MaxSeriesMiB * 1024L * 1024;

    /// <summary>What QIDO-RS says of a series; null when it is not there (yet).</summary>
    /// <exception cref="HttpRequestException">The gateway does not answer, or not with data sets.</exception>
    public Task<SeriesAttributes?> FindAsync(string study, string series, CancellationToken cancellationToken) => LaterAsync<SeriesAttributes?>(async client =>
    {
        var found = await client.SearchAsync(
            $"studies/{study}/series",
            [new("SeriesInstanceUID", series), new("includefield", "BodyPartExamined"), new("includefield", "SeriesDescription")],
            cancellationToken);
        if (found.Count == 0)
        {
            return null;
        }

        string? Value(string tag) => found[0]![tag]?["Value"]?[0]?.ToString();
        return new SeriesAttributes(Value("00080060"), Value("00180015"), Value("0008103E"));
    });

    /// <summary>Retrieves a series, uncompressed.</summary>
    /// <exception cref="HttpRequestException">The gateway does not answer, or stops in the middle.</exception>
    /// <exception cref="SeriesRefusedException">The series is too large, cannot be decompressed, or is no DICOM.</exception>
    public Task<IReadOnlyList<DicomDataset>> RetrieveAsync(string study, string series, CancellationToken cancellationToken) => LaterAsync<IReadOnlyList<DicomDataset>>(async client =>
    {
        var instances = new List<DicomDataset>();
        var left = _maxBytes;
        try
        {
            await foreach (var part in client.RetrieveAsync(
                $"studies/{study}/series/{series}", DicomTransferSyntax.ExplicitVrLittleEndian.Uid, long.MaxValue, cancellationToken))
            {
                // Bounded here and not by the client, whose refusal would mean "later".
                using var file = new BoundedFile(left, _maxBytes);
                left -= await part.CopyToAsync(file, cancellationToken);
                instances.Add(DicomFile.Parse(file.ToArray()).Dataset);
            }
        }
        catch (DicomWebException e) when (e.Status == HttpStatusCode.NotAcceptable)
        {
            throw new SeriesRefusedException("The gateway cannot decompress the series.");
        }
        catch (DicomFormatException e)
        {
            throw new SeriesRefusedException($"An instance is not readable: {e.Message}");
        }

        return instances;
    });

    /// <summary>Stores results. Repeating it changes nothing: equal content is one fact.</summary>
    /// <exception cref="HttpRequestException">They are not all durable at the gateway; the message has its answer.</exception>
    public Task StoreAsync(IReadOnlyList<DicomDataset> results, CancellationToken cancellationToken) => LaterAsync(async client =>
    {
        try
        {
            var answer = await client.StoreAsync(null, results.Select(result => (Func<Stream>)(() => FileOf(result))), cancellationToken);
            return answer.Failed.Count == 0 && answer.Stored.Count >= results.Count
                ? true
                : throw new HttpRequestException(
                    $"STOW-RS stored {answer.Stored.Count} of {results.Count} results; refused: {string.Join(", ", answer.Failed.Select(f => $"{f.SopInstanceUid} ({f.Reason:X4})"))}");
        }
        catch (DicomWebException e) when (e.Status == HttpStatusCode.OK)
        {
            // 200 says that all of it is stored (PS3.18 Table 10.5.3-1), also where the answer does not list it.
            return true;
        }
    });

    /// <inheritdoc/>
    public void Dispose() => _http.Dispose();

    private static MemoryStream FileOf(DicomDataset result)
    {
        var file = new ArrayBufferWriter<byte>();
        DicomFile.Create(result, DicomTransferSyntax.ExplicitVrLittleEndian).Write(file);
        return new MemoryStream(file.WrittenSpan.ToArray(), writable: false);
    }

    private async Task<T> LaterAsync<T>(Func<DicomWeb.DicomWebClient, Task<T>> work)
    {
        try
        {
            return await work(new DicomWeb.DicomWebClient(_http));
        }
        catch (DicomWebException e)
        {
            throw new HttpRequestException(e.Message, e, e.Status);
        }
        catch (IOException e)
        {
            throw new HttpRequestException(e.Message, e);
        }
    }

    /// <summary>A file in memory that ends what is too large.</summary>
    private sealed class BoundedFile(long left, long allowed) : MemoryStream
    {
        // The others come here (MemoryStream, for what is derived of it).
        public override void Write(byte[] buffer, int offset, int count)
        {
            if (Length + count > left)
            {
                throw new SeriesRefusedException($"The series has more than {allowed} bytes (ai-infer:maxSeriesMiB).");
            }

            base.Write(buffer, offset, count);
        }
    }
}

/// <summary>What rules look at.</summary>
internal sealed record SeriesAttributes(string? Modality, string? BodyPart, string? Description);
