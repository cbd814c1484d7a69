using System.Collections.Concurrent;
using System.Net;
using System.Text;

namespace Yizhan.EndToEnd.Tests;

/// <summary>A span as it was exported.</summary>
/// <param name="TraceId">32 hex digits.</param>
/// <param name="Name">What was done.</param>
/// <param name="Site">Resource attribute <c>site</c> of the node that did it.</param>
internal sealed record ExportedSpan(string TraceId, string Name, string Site);

/// <summary>
/// A collector for tests: takes OTLP over HTTP and reads as much of the protobuf messages as it needs (opentelemetry-proto v1, trace.proto; the numbers are
/// field numbers of that file).
/// </summary>
internal sealed class OtlpSink : IDisposable
{
    private readonly HttpListener _listener = new();

    public OtlpSink(int port)
    {
        Url = $"http://127.0.0.1:{port}";
        _listener.Prefixes.Add(Url + "/");
        _listener.Start();
        _ = ServeAsync();
    }

    public string Url { get; }

    public ConcurrentQueue<ExportedSpan> Spans { get; } = [];

    /// <summary>All that came, as text with whatever its bytes are: to look for what must not be in it.</summary>
    public ConcurrentQueue<string> Bodies { get; } = [];

    public void Dispose() => _listener.Close();

    private async Task ServeAsync()
    {
        while (_listener.IsListening)
        {
            HttpListenerContext call;
            try
            {
                call = await _listener.GetContextAsync();
            }
            catch (Exception e) when (e is HttpListenerException or ObjectDisposedException)
            {
                return;
            }

            using var body = new MemoryStream();
            await call.Request.InputStream.CopyToAsync(body);
            Bodies.Enqueue(Encoding.UTF8.GetString(body.ToArray()));
            if (call.Request.Url!.AbsolutePath == "/v1/traces")
            {
                Read(body.ToArray());
            }

            call.Response.ContentType = "application/x-protobuf";
            call.Response.Close();
        }
    }

    private void Read(ReadOnlyMemory<byte> request)
    {
        foreach (var resourceSpans in Messages(request, 1))
        {
            var site = Messages(resourceSpans, 1).SelectMany(resource => Messages(resource, 1))
                .Where(attribute => Text(attribute, 1) == "site")
                .Select(attribute => Text(Messages(attribute, 2).Single(), 1))
                .Single();
            foreach (var span in Messages(resourceSpans, 2).SelectMany(scope => Messages(scope, 2)))
            {
                Spans.Enqueue(new ExportedSpan(Convert.ToHexStringLower(Messages(span, 1).Single().Span), Text(span, 5), site));
            }
        }
    }

    private static string Text(ReadOnlyMemory<byte> message, int field) => Encoding.UTF8.GetString(Messages(message, field).Single().Span);

    /// <summary>The length-delimited fields of a message that have this number.</summary>
    private static IEnumerable<ReadOnlyMemory<byte>> Messages(ReadOnlyMemory<byte> message, int field)
    {
        for (var at = 0; at < message.Length;)
        {
            var key = Varint(message.Span, ref at);
            switch (key & 7)
            {
                case 0:
                    Varint(message.Span, ref at);
                    break;
                case 1:
                    at += 8;
                    break;
                case 2:
                    var length = (int)Varint(message.Span, ref at);
                    if (key >> 3 == (ulong)field)
                    {
                        yield return message.Slice(at, length);
                    }

                    at += length;
                    break;
                case 5:
                    at += 4;
                    break;
                default:
                    throw new InvalidDataException($"Wire type {key & 7} is none of protobuf.");
            }
        }
    }

    private static ulong Varint(ReadOnlySpan<byte> bytes, ref int at)
    {
        var value = 0UL;
        for (var shift = 0; ; shift += 7)
        {
            var b = bytes[at++];
            value |= (ulong)(b & 0x7f) << shift;
            if (b < 0x80)
            {
                return value;
            }
        }
    }
}
