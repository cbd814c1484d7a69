using System.Buffers;
using System.Collections.Concurrent;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.Storage;

namespace Yizhan.AiInfer.Tests;

/// <summary>A DICOMweb archive as the service sees one: series to find and retrieve, and a place where results go.</summary>
internal sealed class Archive : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly ConcurrentDictionary<string, List<DicomDataset>> _series = new();

    private Archive(WebApplication app) => _app = app;

    /// <summary>What was stored, in order.</summary>
    public ConcurrentQueue<DicomFile> Stored { get; } = new();

    /// <summary>Whether it answers STOW-RS with 507.</summary>
    public bool IsFull { get; set; }

    public string Url => _app.Urls.Single() + "/";

    public static async Task<Archive> StartAsync()
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddRoutingCore();
        builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
        var app = builder.Build();
        var archive = new Archive(app);
        app.MapGet("/studies/{study}/series", archive.FindAsync);
        app.MapGet("/studies/{study}/series/{series}", archive.RetrieveAsync);
        app.MapPost("/studies", archive.StoreAsync);
        await app.StartAsync(Node.Cancel);
        return archive;
    }

    /// <summary>Holds a series and tells a node of it, as its gateway would.</summary>
    public Task AddAsync(Node node, List<DicomDataset> slices) => AddAsync(node.Services, slices);

    /// <inheritdoc cref="AddAsync(Node, List{DicomDataset})"/>
    public async Task AddAsync(IServiceProvider node, List<DicomDataset> slices)
    {
        var (study, series) = (slices[0].GetString(DicomTags.StudyInstanceUID)!, slices[0].GetString(DicomTags.SeriesInstanceUID)!);
        _series[series] = slices;
        var stored = new InstanceStored(study, series, slices[0].GetString(DicomTags.SOPInstanceUID)!, slices[0].GetString(DicomTags.SOPClassUID)!, "1.2.840.10008.1.2.1", new string('0', 64), 1, slices[0].GetString(DicomTags.Modality)!, "YIZHAN", "a");
        await node.GetRequiredService<IEventLog>().AppendAsync(
            [new Entry(Lane.Bulk, InstanceStored.EventType, "stored:" + series, study, 0, JsonSerializer.SerializeToUtf8Bytes(stored, ContractsJson.Default.InstanceStored))], Node.Cancel);
    }

    public async ValueTask DisposeAsync() => await _app.DisposeAsync();

    private async Task FindAsync(HttpContext context, string study)
    {
        var series = _series.GetValueOrDefault(context.Request.Query["SeriesInstanceUID"].ToString());
        await context.Response.WriteAsync(series is null || study.Length == 0 ? "[]" : $$$"""
            [{"00080060":{"vr":"CS","Value":["{{{series[0].GetString(DicomTags.Modality)}}}"]},"00180015":{"vr":"CS","Value":["{{{series[0].GetString(DicomTags.BodyPartExamined)}}}"]},"0008103E":{"vr":"LO","Value":["Thorax"]}}]
            """);
    }

    private async Task RetrieveAsync(HttpContext context, string study, string series)
    {
        var body = new ArrayBufferWriter<byte>();
        foreach (var slice in _series[series].Where(_ => study.Length > 0))
        {
            body.Write("--xx\r\nContent-Type: application/dicom\r\n\r\n"u8);
            DicomFile.Create(slice, DicomTransferSyntax.ExplicitVrLittleEndian).Write(body);
            body.Write("\r\n"u8);
        }

        body.Write("--xx--\r\n"u8);
        context.Response.ContentType = "multipart/related; type=\"application/dicom\"; boundary=xx";
        await context.Response.Body.WriteAsync(body.WrittenMemory);
    }

    private async Task StoreAsync(HttpContext context)
    {
        if (IsFull)
        {
            context.Response.StatusCode = 507;
            return;
        }

        var boundary = context.Request.ContentType!.Split("boundary=")[1];
        var parts = new MultipartReader(boundary, context.Request.Body);
        while (await parts.ReadNextSectionAsync() is { } part)
        {
            var stream = new MemoryStream();
            await part.Body.CopyToAsync(stream);
            Stored.Enqueue(DicomFile.Parse(stream.ToArray()));
        }

        await context.Response.Body.WriteAsync(Encoding.ASCII.GetBytes("{}"));
    }
}
