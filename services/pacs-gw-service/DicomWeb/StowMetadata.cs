using System.Buffers;
using System.Text.Json;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Extensions.Options;
using Yizhan.Dicom;
using Yizhan.PacsGw.Receive;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.PacsGw.DicomWeb;

/// <summary>
/// STOW-RS of metadata and bulk data (PS3.18 §10.5.1, §8.6.1): parts of <c>application/dicom+json</c> say what the instances are, the others are bulk
/// values, named by their Content-Location, in any order. Bulk values wait in a <see cref="SealedSpill"/>; one instance at a time is put together in memory.
/// </summary>
internal sealed class StowMetadata(InstanceIntake intake, IEventLog log, IOptions<PacsGwOptions> options, IOptions<NodeOptions> node)
{
    private const int PieceBytes = 128 * 1024;
    private const int MaxLocation = 2048;

    /// <summary>Transfer syntax of a part whose media type has no parameter for it (PS3.18 Table 8.7.3-2 and following).</summary>
    private static readonly Dictionary<string, string> SyntaxOf = new(StringComparer.Ordinal)
    {
        ["application/octet-stream"] = DicomTransferSyntax.ExplicitVrLittleEndian.Uid,
        ["image/jpeg"] = "1.2.840.10008.1.2.4.70",
        ["image/dicom-rle"] = "1.2.840.10008.1.2.5",
        ["image/jls"] = "1.2.840.10008.1.2.4.80",
        ["image/jp2"] = "1.2.840.10008.1.2.4.90",
    };

    /// <summary>Reads the whole body, then stores one instance after the other. Each gets its own result.</summary>
    /// <param name="parts">The body.</param>
    /// <param name="location">Against which relative references are resolved: the URL of the request.</param>
    /// <param name="source">Who sends.</param>
    /// <param name="study">The study that all must be of, or null.</param>
    /// <param name="results">Gets the results.</param>
    /// <param name="cancellationToken">Ends it; instances that were answered with success stay.</param>
    /// <exception cref="InvalidDataException">The body is broken, or has more parts or metadata than is accepted; nothing was stored.</exception>
    /// <exception cref="SpoolFullException">There is no room for the bulk data; nothing was stored.</exception>
    public async Task ReceiveAsync(
        MultipartReader parts, Uri location, IntakeSource source, string? study, List<IntakeResult> results, CancellationToken cancellationToken)
    {
        using var bulk = new SealedSpill(Path.GetDirectoryName(node.Value.PathOf("pacs-gw", "incoming", "x"))!);
        var values = new Dictionary<Uri, BulkPart>();
        var metadata = new List<JsonDocument>();
        try
        {
            await ReadAsync(parts, location, bulk, values, metadata, cancellationToken);
            foreach (var json in metadata.SelectMany(Instances))
            {
                results.Add(await StoreAsync(json, location, bulk, values, source, study, cancellationToken));
            }
        }
        finally
        {
            metadata.ForEach(document => document.Dispose());
        }
    }

    private static IEnumerable<JsonElement> Instances(JsonDocument document) =>
        document.RootElement.ValueKind == JsonValueKind.Array ? document.RootElement.EnumerateArray() : [document.RootElement];

    private async Task ReadAsync(
        MultipartReader parts, Uri location, SealedSpill bulk, Dictionary<Uri, BulkPart> values, List<JsonDocument> metadata, CancellationToken cancellationToken)
    {
        var (count, metadataBytes, room) = (0, 0L, log.Usage(Lane.Bulk).RoomBytes);
        while (await parts.ReadNextSectionAsync(cancellationToken) is { } part)
        {
            if (++count > options.Value.MaxStowParts)
            {
                throw new InvalidDataException($"it has more than {options.Value.MaxStowParts} parts");
            }

            var type = MediaType.Parse(part.ContentType);
            if (type?.Type is DicomWebEndpoints.Json or "application/json")
            {
                var text = new MemoryStream();
                await CopyAsync(part.Body, text, options.Value.MaxHeaderBytes - metadataBytes, cancellationToken);
                metadataBytes += text.Length;
                metadata.Add(Parse(text));
                continue;
            }

            if (part.Headers?.TryGetValue("Content-Location", out var named) != true || named.ToString() is not { Length: > 0 and <= MaxLocation } name
                || !Uri.TryCreate(location, name, out var uri))
            {
                throw new InvalidDataException($"part {count} is neither {DicomWebEndpoints.Json} nor has it a Content-Location");
            }

            var start = bulk.Length;
            if (!await TryCopyAsync(part.Body, bulk.WriteAsync, room - start, cancellationToken))
            {
                throw new SpoolFullException(Lane.Bulk, room);
            }

            if (!values.TryAdd(uri, new BulkPart(start, bulk.Length - start, type?["transfer-syntax"] ?? SyntaxOf.GetValueOrDefault(type?.Type ?? "application/octet-stream"))))
            {
                throw new InvalidDataException($"two parts have the Content-Location of part {count}");
            }
        }

        if (metadata.Count == 0)
        {
            throw new InvalidDataException($"it has no part of {DicomWebEndpoints.Json}");
        }
    }

    private static async Task CopyAsync(Stream from, MemoryStream to, long most, CancellationToken cancellationToken)
    {
        if (!await TryCopyAsync(from, to.WriteAsync, most, cancellationToken))
        {
            throw new InvalidDataException("its metadata are larger than pacs-gw:maxHeaderBytes");
        }
    }

    private static async Task<bool> TryCopyAsync(
        Stream from, Func<ReadOnlyMemory<byte>, CancellationToken, ValueTask> write, long most, CancellationToken cancellationToken)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(PieceBytes);
        try
        {
            while (await from.ReadAsync(buffer, cancellationToken) is > 0 and var read)
            {
                if ((most -= read) < 0)
                {
                    return false;
                }

                await write(buffer.AsMemory(0, read), cancellationToken);
            }

            return true;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private static JsonDocument Parse(MemoryStream text)
    {
        try
        {
            return JsonDocument.Parse(text.GetBuffer().AsMemory(0, (int)text.Length), new JsonDocumentOptions { MaxDepth = 256 });
        }
        catch (JsonException)
        {
            throw new InvalidDataException("its metadata are not JSON");
        }
    }

    private async Task<IntakeResult> StoreAsync(
        JsonElement json, Uri location, SealedSpill bulk, Dictionary<Uri, BulkPart> values, IntakeSource source, string? study, CancellationToken cancellationToken)
    {
        DicomTransferSyntax syntax;
        byte[] bytes;
        try
        {
            (syntax, bytes) = Build(json, location, bulk, values);
        }
        catch (DicomFormatException e)
        {
            await using var refused = intake.Begin(source, DicomTransferSyntax.ExplicitVrLittleEndian.Uid);
            return refused.Refuse(IntakeOutcome.CannotUnderstand, e.Message) with { SopClassUid = Text(json, "00080016"), SopInstanceUid = Text(json, "00080018") };
        }

        await using var reception = intake.Begin(source, syntax.Uid);
        for (var at = 0; at < bytes.Length; at += PieceBytes)
        {
            await reception.WriteAsync(bytes.AsMemory(at, Math.Min(PieceBytes, bytes.Length - at)), cancellationToken);
        }

        return await reception.CompleteAsync(new Expectation(StudyInstanceUid: study), cancellationToken);
    }

    /// <summary>The data set of an instance, in the transfer syntax that its pixels came in.</summary>
    private (DicomTransferSyntax Syntax, byte[] Bytes) Build(JsonElement json, Uri location, SealedSpill bulk, Dictionary<Uri, BulkPart> values)
    {
        var total = 0L;
        var dataset = DicomJson.Read(json, new DicomJsonOptions
        {
            ReadBulkData = (tag, reference) =>
            {
                if (Find(reference) is not { } part)
                {
                    throw new DicomFormatException("no part has the Content-Location of its BulkDataURI", 0, tag);
                }

                if ((total += part.Length) > options.Value.MaxChangedBytes)
                {
                    throw new DicomFormatException(
                        $"its bulk data are more than pacs-gw:maxChangedBytes ({options.Value.MaxChangedBytes}); store it as application/dicom", 0, tag);
                }

                // A value has an even length (PS3.5 §7.1.1).
                var value = new byte[part.Length + (part.Length & 1)];
                bulk.Read(part.Offset, value.AsSpan(0, (int)part.Length));
                return value;
            },
        });
        if (!json.TryGetProperty("7FE00010", out var pixels) || !pixels.TryGetProperty("BulkDataURI", out var uri)
            || Find(uri.GetString()!) is not { } pixelPart || pixelPart.TransferSyntax == DicomTransferSyntax.ExplicitVrLittleEndian.Uid)
        {
            return (DicomTransferSyntax.ExplicitVrLittleEndian, DicomWriter.ToArray(dataset, DicomTransferSyntax.ExplicitVrLittleEndian));
        }

        var syntax = pixelPart.TransferSyntax is { } given ? DicomTransferSyntax.Get(given) : null;
        if (syntax is not { IsKnown: true, IsEncapsulated: true })
        {
            throw new DicomFormatException("the media type of its pixels is neither application/octet-stream nor one with a known transfer-syntax", 0, DicomTags.PixelData);
        }

        if (dataset.GetString(DicomTags.NumberOfFrames) is { } frames && frames.Trim() is not ("" or "1"))
        {
            throw new DicomFormatException("compressed pixels of several frames have to be stored as application/dicom", 0, DicomTags.PixelData);
        }

        _ = dataset.TryGet(DicomTags.PixelData, out var element);
        dataset.Set(DicomElement.OfFragments(DicomTags.PixelData, [ReadOnlyMemory<byte>.Empty, element!.Value]));
        return (syntax, DicomWriter.ToArray(dataset, syntax));

        BulkPart? Find(string reference) => Uri.TryCreate(location, reference, out var at) && values.TryGetValue(at, out var part) ? part : null;
    }

    private static string Text(JsonElement json, string tag) =>
        json.ValueKind == JsonValueKind.Object && json.TryGetProperty(tag, out var attribute) && attribute.ValueKind == JsonValueKind.Object
            && attribute.TryGetProperty("Value", out var value) && value.ValueKind == JsonValueKind.Array && value.GetArrayLength() > 0
            && value[0].ValueKind == JsonValueKind.String
            ? value[0].GetString()!
            : "";

    /// <summary>Where the bytes of a part are in the file, and what they are encoded in; null when its media type does not say.</summary>
    private sealed record BulkPart(long Offset, long Length, string? TransferSyntax);
}
