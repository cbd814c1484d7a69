using System.Buffers;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Extensions.Options;
using Yizhan.Dicom;
using Yizhan.Platform;
using Yizhan.Platform.Identity;

namespace Yizhan.AiInfer.Clinical;

/// <summary>Studies come from and go to the site's gateway by DICOMweb, as they would with any other archive.</summary>
internal sealed class DicomWebClient(IOptions<AiInferOptions> options, IOptions<WebOptions> web, IOptions<NodeOptions> node) : IDisposable
{
    private const string Boundary = "yizhan-ai-infer";

    // The token of this node's operator is for this node: another gateway does not get it.
    private readonly HttpClient _http = new(new OperatorTokenHandler(
        () => options.Value.DicomWebUrl is null ? OperatorTokenHandler.Read(LocalOperator.PathIn(node.Value.DataFolder)) : null,
        new SocketsHttpHandler { UseProxy = false, ConnectTimeout = TimeSpan.FromSeconds(5) }))
    {
        BaseAddress = options.Value.DicomWebUrl ?? new Uri(new Uri(web.Value.Url.Split(';')[0]), "pacs-gw/dicom-web/"),
        Timeout = TimeSpan.FromMinutes(10),
    };

    private readonly long _maxBytes = options.Value.MaxSeriesMiB * 1024L * 1024;

    /// <summary>What QIDO-RS says of a series; null when it is not there (yet).</summary>
    /// <exception cref="HttpRequestException">The gateway does not answer.</exception>
    public async Task<SeriesAttributes?> FindAsync(string study, string series, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, $"studies/{study}/series?SeriesInstanceUID={series}&includefield=BodyPartExamined&includefield=SeriesDescription");
        request.Headers.Accept.ParseAdd("application/dicom+json");
        using var answer = await _http.SendAsync(request, cancellationToken);
        answer.EnsureSuccessStatusCode();
        var text = await answer.Content.ReadAsStringAsync(cancellationToken);
        if (text.Length == 0 || JsonNode.Parse(text) is not JsonArray { Count: > 0 } list)
        {
            return null;
        }

        string? Value(string tag) => list[0]![tag]?["Value"]?[0]?.ToString();
        return new SeriesAttributes(Value("00080060"), Value("00180015"), Value("0008103E"));
    }

    /// <summary>Retrieves a series, uncompressed.</summary>
    /// <exception cref="HttpRequestException">The gateway does not answer.</exception>
    /// <exception cref="SeriesRefusedException">The series is too large, cannot be decompressed, or is no DICOM.</exception>
    public async Task<IReadOnlyList<DicomDataset>> RetrieveAsync(string study, string series, CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, $"studies/{study}/series/{series}");
        request.Headers.TryAddWithoutValidation("Accept", $"multipart/related; type=\"application/dicom\"; transfer-syntax={DicomTransferSyntax.ExplicitVrLittleEndian.Uid}");
        using var answer = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        if (answer.StatusCode == System.Net.HttpStatusCode.NotAcceptable)
        {
            throw new SeriesRefusedException("The gateway cannot decompress the series.");
        }

        answer.EnsureSuccessStatusCode();
        var boundary = answer.Content.Headers.ContentType?.Parameters.FirstOrDefault(p => p.Name == "boundary")?.Value?.Trim('"')
            ?? throw new HttpRequestException("The gateway answered no multipart.");
        var parts = new MultipartReader(boundary, await answer.Content.ReadAsStreamAsync(cancellationToken), 128 * 1024);
        var instances = new List<DicomDataset>();
        var left = _maxBytes;
        var piece = new byte[128 * 1024];
        while (await parts.ReadNextSectionAsync(cancellationToken) is { } part)
        {
            var file = new ArrayBufferWriter<byte>(piece.Length);
            while (await part.Body.ReadAsync(piece, cancellationToken) is > 0 and var read)
            {
                if ((left -= read) < 0)
                {
                    throw new SeriesRefusedException($"The series has more than {_maxBytes} bytes (ai-infer:maxSeriesMiB).");
                }

                file.Write(piece.AsSpan(0, read));
            }

            try
            {
                instances.Add(DicomFile.Parse(file.WrittenMemory).Dataset);
            }
            catch (DicomFormatException e)
            {
                throw new SeriesRefusedException($"An instance is not readable: {e.Message}");
            }
        }

        return instances;
    }

    /// <summary>Stores results. Repeating it changes nothing: equal content is one fact.</summary>
    /// <exception cref="HttpRequestException">They are not durable at the gateway; the message has its answer.</exception>
    public async Task StoreAsync(IReadOnlyList<DicomDataset> results, CancellationToken cancellationToken)
    {
        var body = new ArrayBufferWriter<byte>();
        foreach (var result in results)
        {
            body.Write(Encoding.ASCII.GetBytes($"--{Boundary}\r\nContent-Type: application/dicom\r\n\r\n"));
            DicomFile.Create(result, DicomTransferSyntax.ExplicitVrLittleEndian).Write(body);
            body.Write("\r\n"u8);
        }

        body.Write(Encoding.ASCII.GetBytes($"--{Boundary}--\r\n"));
        using var request = new HttpRequestMessage(HttpMethod.Post, "studies") { Content = new ReadOnlyMemoryContent(body.WrittenMemory) };
        request.Content.Headers.ContentType = MediaTypeHeaderValue.Parse($"multipart/related; type=\"application/dicom\"; boundary={Boundary}");
        request.Headers.Accept.ParseAdd("application/dicom+json");
        using var answer = await _http.SendAsync(request, cancellationToken);
        if (answer.StatusCode != System.Net.HttpStatusCode.OK)
        {
            var text = await answer.Content.ReadAsStringAsync(cancellationToken);
            throw new HttpRequestException($"STOW-RS answered {(int)answer.StatusCode}: {(text.Length > 400 ? text[..400] : text)}");
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _http.Dispose();
}

/// <summary>What rules look at.</summary>
internal sealed record SeriesAttributes(string? Modality, string? BodyPart, string? Description);
