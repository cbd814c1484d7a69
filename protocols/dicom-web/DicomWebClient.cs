using System.Net;
using System.Net.Http.Headers;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.WebUtilities;

namespace Yizhan.DicomWeb;

/// <summary>A user of an origin server's studies service (PS3.18 §10).</summary>
/// <param name="http">Its base address is that of the service and ends in a slash; it adds who signs in. The caller disposes of it.</param>
public sealed class DicomWebClient(HttpClient http)
{
    private const string Json = "application/dicom+json";
    private const int MaxJsonBytes = 256 * 1024 * 1024;
    private const int MaxErrorCharacters = 400;

    /// <summary>How long a server may send nothing.</summary>
    public TimeSpan MaxSilence { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>QIDO-RS (PS3.18 §10.6).</summary>
    /// <param name="resource"><c>studies</c>, <c>studies/1.2.3/series</c> and so on.</param>
    /// <param name="parameters">Attributes to match, <c>includefield</c>, <c>limit</c> and so on.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <returns>Data sets in the DICOM JSON model.</returns>
    /// <exception cref="DicomWebException">The server refuses, or its answer is no DICOM JSON.</exception>
    /// <exception cref="HttpRequestException">The server does not answer.</exception>
    public async Task<JsonArray> SearchAsync(string resource, IEnumerable<KeyValuePair<string, string>> parameters, CancellationToken cancellationToken)
    {
        var query = string.Join('&', parameters.Select(p => $"{Escape(p.Key)}={Escape(p.Value)}"));
        using var request = new HttpRequestMessage(HttpMethod.Get, query.Length == 0 ? resource : $"{resource}?{query}");
        request.Headers.Accept.ParseAdd(Json);
        using var answer = await SendAsync(request, cancellationToken);
        await ThrowIfRefusedAsync(answer, resource, cancellationToken);
        return await ReadJsonAsync(answer, cancellationToken) switch
        {
            null => [],
            JsonArray found => found,
            _ => throw new DicomWebException(null, $"The answer to GET {resource} is no array of data sets."),
        };
    }

    /// <summary>WADO-RS of whole instances (PS3.18 §10.4), one after the other.</summary>
    /// <param name="resource"><c>studies/1.2.3</c>, <c>studies/1.2.3/series/1.2.3.1</c> and so on.</param>
    /// <param name="transferSyntax">Transfer syntax UID; <c>*</c> for whatever each instance is stored in.</param>
    /// <param name="maxBytes">Bytes of all parts at most.</param>
    /// <param name="cancellationToken">Gives up.</param>
    /// <exception cref="DicomWebException">The server refuses, or answers something else.</exception>
    /// <exception cref="HttpRequestException">The server does not answer.</exception>
    /// <exception cref="IOException">The answer ends early.</exception>
    public async IAsyncEnumerable<DicomWebPart> RetrieveAsync(
        string resource, string transferSyntax, long maxBytes, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, resource);
        request.Headers.TryAddWithoutValidation("Accept", $"multipart/related; type=\"application/dicom\"; transfer-syntax={transferSyntax}");
        using var answer = await SendAsync(request, cancellationToken);
        await ThrowIfRefusedAsync(answer, resource, cancellationToken);
        var left = maxBytes;
        await using var body = await answer.Content.ReadAsStreamAsync(cancellationToken);
        var type = answer.Content.Headers.ContentType;
        if (string.Equals(type?.MediaType, "application/dicom", StringComparison.OrdinalIgnoreCase))
        {
            yield return new DicomWebPart(type!.MediaType, null, body, Take, MaxSilence);
            yield break;
        }

        var boundary = type?.Parameters.FirstOrDefault(p => p.Name.Equals("boundary", StringComparison.OrdinalIgnoreCase))?.Value?.Trim('"');
        if (string.IsNullOrEmpty(boundary) || boundary.Length > 70)
        {
            throw new DicomWebException(null, $"The answer to GET {resource} is {type?.MediaType ?? "of no media type"}; multipart/related of application/dicom was asked for.");
        }

        var parts = new MultipartReader(boundary, body, 128 * 1024);
        while (await NextAsync(parts, cancellationToken) is { } part)
        {
            yield return new DicomWebPart(part.ContentType, part.Headers?.GetValueOrDefault("Content-Location").ToString(), part.Body, Take, MaxSilence);
        }

        long Take(int bytes) => (left -= bytes) >= 0
            ? left
            : throw new DicomWebException(null, $"The answer to GET {resource} has more than the {maxBytes} bytes that are allowed.");
    }

    /// <summary>STOW-RS of files (PS3.18 §10.5). Each is opened when its turn comes, and streamed.</summary>
    /// <param name="study">Study that all of them have to be of; null for any.</param>
    /// <param name="files">How to open each of them; asked once each.</param>
    /// <param name="cancellationToken">Gives up; what was stored until then the server knows.</param>
    /// <returns>What became of each, as far as the server says.</returns>
    /// <exception cref="DicomWebException">The server refuses the request as a whole, or its answer says nothing of the instances.</exception>
    /// <exception cref="HttpRequestException">The server does not answer.</exception>
    public Task<StowAnswer> StoreAsync(string? study, IEnumerable<Func<Stream>> files, CancellationToken cancellationToken) =>
        StoreAsync(study, files.Select(open => (Func<Stream, CancellationToken, Task>)(async (body, cancel) =>
        {
            await using var file = open();
            await file.CopyToAsync(body, 128 * 1024, cancel);
        })), cancellationToken);

    /// <summary>STOW-RS of files that are written into the request when their turn comes.</summary>
    /// <inheritdoc cref="StoreAsync(string?, IEnumerable{Func{Stream}}, CancellationToken)"/>
    public async Task<StowAnswer> StoreAsync(string? study, IEnumerable<Func<Stream, CancellationToken, Task>> files, CancellationToken cancellationToken)
    {
        var resource = study is null ? "studies" : $"studies/{study}";
        var boundary = Convert.ToHexString(RandomNumberGenerator.GetBytes(16));
        using var content = new MultipartContent("related", boundary);
        content.Headers.ContentType = MediaTypeHeaderValue.Parse($"multipart/related; type=\"application/dicom\"; boundary={boundary}");
        foreach (var write in files)
        {
            content.Add(new FilePart(write));
        }

        using var request = new HttpRequestMessage(HttpMethod.Post, resource) { Content = content };
        request.Headers.Accept.ParseAdd(Json);
        using var answer = await SendAsync(request, cancellationToken);

        // 409 is the status of a request of which no instance was taken (PS3.18 §10.5.3.1), and Orthanc says 400, without a media type,
        // when one part is no DICOM and the others are stored: what the body says of each instance counts.
        if (answer.StatusCode is not (HttpStatusCode.Conflict or HttpStatusCode.BadRequest))
        {
            await ThrowIfRefusedAsync(answer, resource, cancellationToken);
        }

        var stored = StowAnswer.Read(await ReadJsonAsync(answer, cancellationToken));
        return stored.Stored.Count + stored.Failed.Count > 0
            ? stored
            : throw new DicomWebException(answer.StatusCode, $"POST {resource}: {(int)answer.StatusCode} {answer.ReasonPhrase}, and the answer names no instance.");
    }

    /// <summary>Wildcards and commas stay as they are, which RFC 3986 §3.4 allows: Orthanc does not find by <c>%2A</c>.</summary>
    private static string Escape(string text) => Uri.EscapeDataString(text)
        .Replace("%2A", "*", StringComparison.Ordinal).Replace("%3F", "?", StringComparison.Ordinal).Replace("%2C", ",", StringComparison.Ordinal);

    private Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken) =>
        http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);

    private async Task<MultipartSection?> NextAsync(MultipartReader parts, CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(MaxSilence);
        try
        {
            return await parts.ReadNextSectionAsync(patience.Token);
        }
        catch (InvalidDataException e)
        {
            throw new DicomWebException(null, $"The answer is no multipart body: {e.Message}");
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new IOException($"The server sent nothing for {MaxSilence.TotalSeconds:0} s between two instances.");
        }
    }

    private async Task<JsonNode?> ReadJsonAsync(HttpResponseMessage answer, CancellationToken cancellationToken)
    {
        if (answer.StatusCode == HttpStatusCode.NoContent)
        {
            return null;
        }

        using var text = new MemoryStream();
        var left = MaxJsonBytes;
        await using var body = await answer.Content.ReadAsStreamAsync(cancellationToken);
        await new DicomWebPart(null, null, body, Take, MaxSilence).CopyToAsync(text, cancellationToken);
        try
        {
            return text.Length == 0 ? null : JsonNode.Parse(text.GetBuffer().AsSpan(0, (int)text.Length));
        }
        catch (JsonException)
        {
            throw new DicomWebException(
                answer.StatusCode,
                $"The server answered {(int)answer.StatusCode} with what is not {Json}: {Shown(text.GetBuffer().AsSpan(0, (int)text.Length))}");
        }

        long Take(int bytes) => (left -= bytes) >= 0 ? left : throw new DicomWebException(null, $"The answer has more than {MaxJsonBytes} bytes; ask for less with a limit.");
    }

    /// <summary>The resource names no value that was searched for; the server's own words are shortened.</summary>
    private static async Task ThrowIfRefusedAsync(HttpResponseMessage answer, string resource, CancellationToken cancellationToken)
    {
        if (answer.IsSuccessStatusCode)
        {
            return;
        }

        var start = new byte[4 * MaxErrorCharacters];
        await using var body = await answer.Content.ReadAsStreamAsync(cancellationToken);
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(TimeSpan.FromSeconds(5));
        var length = 0;
        try
        {
            length = await body.ReadAtLeastAsync(start, start.Length, throwOnEndOfStream: false, patience.Token);
        }
        catch (Exception e) when (e is IOException || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested))
        {
            // The status says what there is to say.
        }

        var text = Shown(start.AsSpan(0, length));
        throw new DicomWebException(
            answer.StatusCode, $"{answer.RequestMessage?.Method} {resource}: {(int)answer.StatusCode} {answer.ReasonPhrase}{(text.Length == 0 ? "" : ": " + text)}");
    }

    /// <summary>The beginning of a server's words, without what would move a terminal's cursor.</summary>
    private static string Shown(ReadOnlySpan<byte> text) => new(
        [.. Encoding.UTF8.GetString(text[..Math.Min(text.Length, 4 * MaxErrorCharacters)]).Where(c => !char.IsControl(c)).Take(MaxErrorCharacters)]);

    /// <summary>A file that is open only while it is sent.</summary>
    private sealed class FilePart : HttpContent
    {
        private readonly Func<Stream, CancellationToken, Task> _write;

        public FilePart(Func<Stream, CancellationToken, Task> write)
        {
            _write = write;
            Headers.ContentType = new MediaTypeHeaderValue("application/dicom");
        }

        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken) => _write(stream, cancellationToken);

        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => SerializeToStreamAsync(stream, context, CancellationToken.None);

        // Sent in chunks: nobody has to open every file to add up their lengths first.
        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
