using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Yizhan.Dicom;

namespace Yizhan.PacsGw.Orthanc;

/// <summary>One change of an Orthanc.</summary>
/// <param name="ChangeType">What happened; <c>NewInstance</c> is what we follow.</param>
/// <param name="Id">Orthanc's own identifier of the resource.</param>
/// <param name="Seq">Its place in the feed.</param>
internal sealed record OrthancChange(
    [property: JsonPropertyName("ChangeType")] string ChangeType,
    [property: JsonPropertyName("ID")] string Id,
    [property: JsonPropertyName("Seq")] long Seq);

/// <summary>A part of the feed <c>/changes</c>.</summary>
/// <param name="Changes">In order.</param>
/// <param name="Done">True when there is nothing after them yet.</param>
/// <param name="Last">Where to go on.</param>
internal sealed record OrthancChanges(
    [property: JsonPropertyName("Changes")] IReadOnlyList<OrthancChange> Changes,
    [property: JsonPropertyName("Done")] bool Done,
    [property: JsonPropertyName("Last")] long Last);

/// <summary>The answer of <c>/system</c>, as far as we need it.</summary>
/// <param name="DatabaseServerIdentifier">Another value is another database, whose feed starts again.</param>
internal sealed record OrthancSystem([property: JsonPropertyName("DatabaseServerIdentifier")] string? DatabaseServerIdentifier);

[JsonSerializable(typeof(OrthancChanges))]
[JsonSerializable(typeof(OrthancSystem))]
internal sealed partial class OrthancJson : JsonSerializerContext;

/// <summary>The few requests of Orthanc's REST API that we need.</summary>
internal sealed class OrthancClient : IDisposable
{
    private const int PageSize = 100;

    private readonly HttpClient _http;

    /// <param name="url">Root of its REST API.</param>
    /// <param name="user">User, or null.</param>
    /// <param name="passwordFile">File with the password, or null.</param>
    /// <exception cref="IOException">The password file cannot be read.</exception>
    public OrthancClient(string url, string? user, string? passwordFile)
    {
        _http = new HttpClient
        {
            BaseAddress = new Uri(url.EndsWith('/') ? url : url + "/"),

            // A body may take as long as it must; the answer's head may not.
            Timeout = TimeSpan.FromMinutes(10),
        };
        if (user is not null)
        {
            var password = passwordFile is null ? "" : File.ReadLines(passwordFile).FirstOrDefault() ?? "";
            _http.DefaultRequestHeaders.Authorization =
                new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes($"{user}:{password}")));
        }
    }

    /// <summary>Which database answers.</summary>
    public async Task<string> IdentifyAsync(CancellationToken cancellationToken) =>
        (await GetAsync("system", OrthancJson.Default.OrthancSystem, cancellationToken)).DatabaseServerIdentifier ?? "";

    /// <summary>What changed after a place in the feed.</summary>
    public Task<OrthancChanges> ChangesAsync(long since, CancellationToken cancellationToken) =>
        GetAsync($"changes?since={since}&limit={PageSize}", OrthancJson.Default.OrthancChanges, cancellationToken);

    /// <summary>The Part 10 file of an instance; null when it is gone. The caller disposes the answer.</summary>
    public async Task<HttpResponseMessage?> FileAsync(string id, CancellationToken cancellationToken)
    {
        var response = await _http.GetAsync(
            new Uri($"instances/{Uri.EscapeDataString(id)}/file", UriKind.Relative), HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        if (response.StatusCode == HttpStatusCode.NotFound)
        {
            response.Dispose();
            return null;
        }

        if (!response.IsSuccessStatusCode)
        {
            using (response)
            {
                throw Failed($"instances/{id}/file", response.StatusCode);
            }
        }

        return response;
    }

    /// <summary>Which AE title sent an instance to it; empty when it came by REST or is gone.</summary>
    public async Task<string> RemoteAeTitleAsync(string id, CancellationToken cancellationToken)
    {
        using var response = await _http.GetAsync(
            new Uri($"instances/{Uri.EscapeDataString(id)}/metadata/RemoteAET", UriKind.Relative), cancellationToken);
        return response.IsSuccessStatusCode ? (await response.Content.ReadAsStringAsync(cancellationToken)).Trim() : "";
    }

    /// <summary>The identifier that Orthanc gives an instance: it follows from patient and UIDs alone.</summary>
    public static string IdOf(DicomDataset dataset)
    {
        var key = string.Join('|', ((DicomTag[])[DicomTags.PatientID, DicomTags.StudyInstanceUID, DicomTags.SeriesInstanceUID, DicomTags.SOPInstanceUID])
            .Select(tag => dataset.GetString(tag)?.Trim() ?? ""));
#pragma warning disable CA5350 // A name, not a protection: Orthanc's choice.
        var hash = Convert.ToHexStringLower(SHA1.HashData(Encoding.UTF8.GetBytes(key)));
#pragma warning restore CA5350
        return string.Join('-', Enumerable.Range(0, 5).Select(i => hash.Substring(i * 8, 8)));
    }

    /// <summary>Stores one Part 10 file; returns once Orthanc has it.</summary>
    /// <exception cref="HttpRequestException">It refused, or is not there.</exception>
    public async Task StoreAsync(Func<Stream, Task> write, CancellationToken cancellationToken)
    {
        using var content = new WrittenContent(write);
        content.Headers.ContentType = new MediaTypeHeaderValue("application/dicom");
        using var response = await _http.PostAsync(new Uri("instances", UriKind.Relative), content, cancellationToken);
        if (!response.IsSuccessStatusCode)
        {
            throw Failed("instances", response.StatusCode);
        }
    }

    public void Dispose() => _http.Dispose();

    private async Task<T> GetAsync<T>(
        string path, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T> type, CancellationToken cancellationToken)
    {
        using var response = await _http.GetAsync(new Uri(path, UriKind.Relative), cancellationToken);
        if (!response.IsSuccessStatusCode)
        {
            throw Failed(path, response.StatusCode);
        }

        try
        {
            await using var body = await response.Content.ReadAsStreamAsync(cancellationToken);
            return await JsonSerializer.DeserializeAsync(body, type, cancellationToken) ?? throw new JsonException("null");
        }
        catch (JsonException e)
        {
            throw new HttpRequestException($"{path} answered something that is not Orthanc's JSON: {e.Message}", e);
        }
    }

    private static HttpRequestException Failed(string path, HttpStatusCode status) =>
        new($"{path} answered {(int)status} {status}.", null, status);

    /// <summary>A body that is written as it is sent, so that a file is never in memory as a whole.</summary>
    private sealed class WrittenContent(Func<Stream, Task> write) : HttpContent
    {
        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => write(stream);

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
