using System.Buffers;
using System.Text;

namespace Yizhan.PacsGw.DicomWeb;

/// <summary>Stored metadata on its way out.</summary>
internal static class JsonAnswer
{
    private static ReadOnlySpan<byte> BulkDataUri => "\"BulkDataURI\":\""u8;

    /// <summary>
    /// Writes one stored object with its bulk data URIs made absolute. Within a JSON string each quote has a backslash before it,
    /// so the key cannot be mistaken for text.
    /// </summary>
    public static void Write(IBufferWriter<byte> json, ReadOnlySpan<byte> stored, ReadOnlySpan<byte> root)
    {
        while (stored.IndexOf(BulkDataUri) is >= 0 and var at)
        {
            var end = at + BulkDataUri.Length;
            json.Write(stored[..end]);
            json.Write(root);
            stored = stored[end..];
        }

        json.Write(stored);
    }

    /// <summary>Sends objects as one array, as they come.</summary>
    /// <returns>How many there were; with none, nothing was sent.</returns>
    public static async Task<int> SendAsync(HttpResponse response, IEnumerable<byte[]> objects, string root, CancellationToken cancellationToken)
    {
        const int flushBytes = 256 * 1024;
        var rootBytes = Encoding.UTF8.GetBytes(root + "/");
        var body = response.BodyWriter;
        var count = 0;
        foreach (var stored in objects)
        {
            if (count == 0)
            {
                response.ContentType = DicomWebEndpoints.Json;
            }

            body.Write(count++ == 0 ? "["u8 : ","u8);
            Write(body, stored, rootBytes);
            if (body.UnflushedBytes > flushBytes && (await body.FlushAsync(cancellationToken)).IsCompleted)
            {
                break;
            }
        }

        if (count > 0)
        {
            body.Write("]"u8);
        }

        return count;
    }
}
