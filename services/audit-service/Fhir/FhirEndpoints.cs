using System.Globalization;
using System.Text;
using System.Text.Json;
using Yizhan.Audit.Index;
using Yizhan.Platform.Identity;
using Yizhan.Storage;
using Yizhan.Transparency;

namespace Yizhan.Audit.Fhir;

/// <summary>FHIR R4: AuditEvents in (ITI-20 RESTful feed), search (ITI-81), and export.</summary>
internal static class FhirEndpoints
{
    /// <summary>Largest AuditEvent, in bytes.</summary>
    public const int MaxEventBytes = 512 * 1024;

    /// <summary>Largest Bundle, in bytes, and the most events in one.</summary>
    public const int MaxBundleBytes = 8 * 1024 * 1024;
    private const int MaxBundleEvents = 1000;
    private const int ExportPage = 500;
    private const string FhirJson = "application/fhir+json";
    private const string ProofExtension = "urn:yizhan:audit:inclusion-proof";

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapPost("/fhir/AuditEvent", CreateAsync).Needs(Permission.WriteAudit, "AuditEvent", 'c');
        routes.MapPost("/fhir", BatchAsync).Needs(Permission.WriteAudit, "AuditEvent", 'c');
        routes.MapGet("/fhir/AuditEvent", SearchAsync).Needs(Permission.ReadAudit, "AuditEvent", 's');
        routes.MapGet("/export", ExportAsync).Needs(Permission.ReadAudit, "AuditEvent", 's');
    }

    /// <summary>Answers 201 after the event would survive a power cut. The same bytes again are the same event.</summary>
    private static async Task CreateAsync(HttpContext context, IEventLog events, CancellationToken cancellationToken)
    {
        if (await ReadAsync(context, MaxEventBytes, cancellationToken) is not { } body || await ParseAsync(context, body) is not { } document)
        {
            return;
        }

        using (document)
        {
            if (TryEntry(document.RootElement, Encoding.UTF8.GetString(body.Span), out var entry, out var problem)
                && await AppendAsync(context, events, [entry], cancellationToken))
            {
                context.Response.StatusCode = 201;
                context.Response.Headers.Location = $"/audit/fhir/AuditEvent?_id={Uri.EscapeDataString(entry.Id)}";
            }
            else if (problem is not null)
            {
                await RefuseAsync(context, problem.Contains("bytes", StringComparison.Ordinal) ? 413 : 400, problem);
            }
        }
    }

    /// <summary>A Bundle of AuditEvents (ITI-20): all or none, with one flush.</summary>
    private static async Task BatchAsync(HttpContext context, IEventLog events, CancellationToken cancellationToken)
    {
        if (await ReadAsync(context, MaxBundleBytes, cancellationToken) is not { } body || await ParseAsync(context, body) is not { } document)
        {
            return;
        }

        using (document)
        {
            var entries = new List<Entry>();
            if (document.RootElement.ValueKind != JsonValueKind.Object || !document.RootElement.TryGetProperty("entry", out var items)
                || items.ValueKind != JsonValueKind.Array || items.GetArrayLength() is < 1 or > MaxBundleEvents)
            {
                await RefuseAsync(context, 400, $"The body is no Bundle with 1 to {MaxBundleEvents} entries.");
                return;
            }

            foreach (var item in items.EnumerateArray())
            {
                var resource = item.ValueKind == JsonValueKind.Object && item.TryGetProperty("resource", out var r) ? r : default;
                if (resource.ValueKind != JsonValueKind.Object || !TryEntry(resource, resource.GetRawText(), out var entry, out var problem))
                {
                    TryEntry(resource, "", out _, out problem);
                    await RefuseAsync(context, 400, $"Bundle.entry[{entries.Count}]: {problem}");
                    return;
                }

                entries.Add(entry);
            }

            if (await AppendAsync(context, events, entries, cancellationToken))
            {
                await WriteAsync(context, 200, json =>
                {
                    json.WriteStartObject();
                    json.WriteString("resourceType", "Bundle");
                    json.WriteString("type", "batch-response");
                    json.WriteStartArray("entry");
                    foreach (var entry in entries)
                    {
                        json.WriteStartObject();
                        json.WriteStartObject("response");
                        json.WriteString("status", "201");
                        json.WriteString("location", $"AuditEvent?_id={Uri.EscapeDataString(entry.Id)}");
                        json.WriteEndObject();
                        json.WriteEndObject();
                    }

                    json.WriteEndArray();
                    json.WriteEndObject();
                });
            }
        }
    }

    private static async Task SearchAsync(HttpContext context, AuditConsumer consumer)
    {
        if (consumer.Log is not { } log)
        {
            await RefuseAsync(context, 503, consumer.Problem);
            return;
        }

        try
        {
            var size = log.Current.Checkpoint.Size;
            var query = AuditEventQuery.Read(context.Request.Query) with { Size = size };
            var found = log.Find(query);
            await WriteAsync(context, 200, json => WriteBundle(json, context.Request, log, found, query, size));
        }
        catch (FormatException e)
        {
            await RefuseAsync(context, 400, e.Message);
        }
    }

    /// <summary>Everything that matches, page by page: FHIR with one AuditEvent a line, or CSV.</summary>
    private static async Task ExportAsync(HttpContext context, AuditConsumer consumer, CancellationToken cancellationToken)
    {
        if (consumer.Log is not { } log)
        {
            await RefuseAsync(context, 503, consumer.Problem);
            return;
        }

        AuditQuery query;
        var csv = context.Request.Query["format"] == "csv";
        try
        {
            query = AuditEventQuery.Read(context.Request.Query.Where(p => p.Key != "format")) with { Limit = ExportPage };
        }
        catch (FormatException e)
        {
            await RefuseAsync(context, 400, e.Message);
            return;
        }

        context.Response.ContentType = csv ? "text/csv; charset=utf-8" : "application/fhir+ndjson";
        await using var writer = new StreamWriter(context.Response.Body, new UTF8Encoding(csv), 64 * 1024);
        if (csv)
        {
            await writer.WriteAsync(AuditCsv.Header);
        }

        while (log.Find(query) is { Count: > 0 } page)
        {
            foreach (var entry in page)
            {
                await writer.WriteAsync(csv ? AuditCsv.Line(entry) : Line(entry));
            }

            await writer.FlushAsync(cancellationToken);
            query = query with { Before = new FoundLeaf(page[^1].Index, page[^1].Leaf.RecordedMs) };
        }
    }

    private static string Line(AuditEntry entry)
    {
        using var bytes = new MemoryStream();
        using (var json = new Utf8JsonWriter(bytes))
        {
            AuditEventWriter.Write(json, entry);
        }

        // What came with line feeds between its members must be one line here.
        return Encoding.UTF8.GetString(bytes.ToArray()).Replace("\r", "", StringComparison.Ordinal).Replace('\n', ' ') + "\n";
    }

    private static void WriteBundle(Utf8JsonWriter json, HttpRequest request, AuditLog log, IReadOnlyList<AuditEntry> found, AuditQuery query, long size)
    {
        json.WriteStartObject();
        json.WriteString("resourceType", "Bundle");
        json.WriteString("type", "searchset");
        json.WriteStartArray("link");
        WriteLink(json, "self", $"/audit/fhir/AuditEvent{request.QueryString}");
        WriteLink(json, "checkpoint", "/audit/checkpoint");
        if (found.Count == query.Limit)
        {
            var rest = request.Query.Where(p => p.Key != "_cursor").SelectMany(p => p.Value.Select(v => $"{p.Key}={Uri.EscapeDataString(v ?? "")}"));
            var cursor = string.Create(CultureInfo.InvariantCulture, $"_cursor={found[^1].Leaf.RecordedMs}.{found[^1].Index}");
            WriteLink(json, "next", $"/audit/fhir/AuditEvent?{string.Join('&', rest.Append(cursor))}");
        }

        json.WriteEndArray();
        json.WriteStartArray("entry");
        var proofs = log.Reader.Proofs(size);
        foreach (var entry in found.Where(e => e.Index < size))
        {
            json.WriteStartObject();
            WriteProof(json, entry, proofs.Inclusion(entry.Index, size), size);
            json.WriteString("fullUrl", string.Create(CultureInfo.InvariantCulture, $"/audit/records/{entry.Index}/proof?size={size}"));
            json.WritePropertyName("resource");
            AuditEventWriter.Write(json, entry);
            json.WriteStartObject("search");
            json.WriteString("mode", "match");
            json.WriteEndObject();
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    /// <summary>Index, size, leaf, salt and siblings: with the checkpoint of this size all that a verifier needs.</summary>
    private static void WriteProof(Utf8JsonWriter json, AuditEntry entry, TreeHash[] path, long size)
    {
        json.WriteStartArray("extension");
        json.WriteStartObject();
        json.WriteString("url", ProofExtension);
        json.WriteStartArray("extension");
        Number("index", entry.Index);
        Number("size", size);
        Bytes("leaf", entry.LeafBytes.ToArray());
        Bytes("salt", entry.Opened!.Salt.ToArray());
        Bytes("payload", entry.Opened.Payload.ToArray());
        foreach (var sibling in path)
        {
            Bytes("sibling", sibling.ToArray());
        }

        json.WriteEndArray();
        json.WriteEndObject();
        json.WriteEndArray();

        void Number(string url, long value)
        {
            json.WriteStartObject();
            json.WriteString("url", url);
            json.WriteString("valueString", value.ToString(CultureInfo.InvariantCulture));
            json.WriteEndObject();
        }

        void Bytes(string url, byte[] value)
        {
            json.WriteStartObject();
            json.WriteString("url", url);
            json.WriteBase64String("valueBase64Binary", value);
            json.WriteEndObject();
        }
    }

    private static void WriteLink(Utf8JsonWriter json, string relation, string url)
    {
        json.WriteStartObject();
        json.WriteString("relation", relation);
        json.WriteString("url", url);
        json.WriteEndObject();
    }

    private static bool TryEntry(JsonElement resource, string original, out Entry entry, out string? problem)
    {
        (entry, problem) = (null!, null);
        try
        {
            var facts = AuditEventReader.Read(resource);
            entry = AuditMessage.ToEntry(AuditMessage.Fhir, facts, original);
            problem = entry.Data.Length > Entry.MaxDataBytes ? $"The AuditEvent has {entry.Data.Length} bytes with its facts; accepted: up to {Entry.MaxDataBytes}." : null;
        }
        catch (FormatException e)
        {
            problem = e.Message;
        }

        return problem is null;
    }

    private static async Task<bool> AppendAsync(HttpContext context, IEventLog events, IReadOnlyList<Entry> entries, CancellationToken cancellationToken)
    {
        try
        {
            await events.AppendAsync(entries, cancellationToken);
            return true;
        }
        catch (SpoolFullException e)
        {
            await RefuseAsync(context, 507, e.Message);
            return false;
        }
    }

    private static async Task<ReadOnlyMemory<byte>?> ReadAsync(HttpContext context, int maxBytes, CancellationToken cancellationToken)
    {
        using var body = new MemoryStream();
        var buffer = new byte[64 * 1024];
        int read;
        while ((read = await context.Request.Body.ReadAsync(buffer, cancellationToken)) > 0)
        {
            body.Write(buffer, 0, read);
            if (body.Length > maxBytes)
            {
                await RefuseAsync(context, 413, $"The body has more than {maxBytes} bytes.");
                return null;
            }
        }

        return body.GetBuffer().AsMemory(0, (int)body.Length);
    }

    private static async Task<JsonDocument?> ParseAsync(HttpContext context, ReadOnlyMemory<byte> body)
    {
        try
        {
            return JsonDocument.Parse(body);
        }
        catch (JsonException e)
        {
            await RefuseAsync(context, 400, $"The body is not JSON: line {e.LineNumber + 1}.");
            return null;
        }
    }

    private static Task RefuseAsync(HttpContext context, int status, string why) => WriteAsync(context, status, json =>
    {
        json.WriteStartObject();
        json.WriteString("resourceType", "OperationOutcome");
        json.WriteStartArray("issue");
        json.WriteStartObject();
        json.WriteString("severity", "error");
        json.WriteString("code", status == 413 ? "too-long" : status < 500 ? "invalid" : "transient");
        json.WriteString("diagnostics", why);
        json.WriteEndObject();
        json.WriteEndArray();
        json.WriteEndObject();
    });

    private static async Task WriteAsync(HttpContext context, int status, Action<Utf8JsonWriter> write)
    {
        using var bytes = new MemoryStream();
        using (var json = new Utf8JsonWriter(bytes))
        {
            write(json);
        }

        (context.Response.StatusCode, context.Response.ContentType) = (status, FhirJson);
        await context.Response.Body.WriteAsync(bytes.GetBuffer().AsMemory(0, (int)bytes.Length));
    }
}
