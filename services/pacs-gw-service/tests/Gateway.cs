using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.Receive;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.PacsGw.Tests;

/// <summary>A whole node with only this module: real log, real blobs, real sockets on free ports, a folder of its own.</summary>
internal sealed class Gateway : IAsyncDisposable
{
    private readonly string _folder;
    private readonly WebApplication _app;

    private Gateway(string folder, WebApplication app)
    {
        (_folder, _app) = (folder, app);
        Http = Operator.Client(app, "/pacs-gw/");
        Http.Timeout = TimeSpan.FromMinutes(5);
    }

    public HttpClient Http { get; }

    public IServiceProvider Services => _app.Services;

    public int DicomPort => Services.GetRequiredService<DicomListener>().EndPoint!.Port;

    public int TlsPort => Services.GetRequiredService<DicomListener>().TlsEndPoint!.Port;

    public GatewayDatabase Database => Services.GetRequiredService<GatewayDatabase>();

    public IEventLog Log => Services.GetRequiredService<IEventLog>();

    public static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public static Task<Gateway> StartAsync(params string[] settings) =>
        StartInAsync(Directory.CreateTempSubdirectory("yizhan-pacs-").FullName, settings);

    public static async Task<Gateway> StartInAsync(string folder, params string[] settings)
    {
        var app = new ServiceHost(
            [
                $"--node:dataFolder={folder}", "--node:siteId=site-a", "--web:url=http://127.0.0.1:0", "--log:level=warning",
                "--pacs-gw:dicomPort=0", "--pacs-gw:peers:0:aeTitle=STORESCU", "--pacs-gw:peers:1:aeTitle=CT-1",
                "--storage:freeFloorBytes=0", .. settings,
            ]).Add<PacsGwModule>().Build();
        await app.StartAsync(Cancel);
        return new Gateway(folder, app);
    }

    /// <summary>Stops the node and starts it again on the same folder.</summary>
    public async Task<Gateway> RestartAsync(params string[] settings)
    {
        await using var stopped = await StopAsync();
        return await stopped.StartAsync(settings);
    }

    /// <summary>Stops the node and keeps its folder.</summary>
    public async Task<StoppedGateway> StopAsync()
    {
        Http.Dispose();
        await _app.StopAsync(Cancel);
        await _app.DisposeAsync();
        return new StoppedGateway(_folder);
    }

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await _app.StopAsync(CancellationToken.None);
        await _app.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }

    /// <summary>Sends instances over one association and returns each one's status, or null where there was no answer.</summary>
    public async Task<IReadOnlyList<ushort?>> SendAsync(IReadOnlyList<StoreInstance> instances, int window = 1, string calling = "CT-1")
    {
        var options = new AssociationOptions { MaxOperations = window };
        var scu = new StoreScu(
            (request, cancel) => Connector.RequestAsync("127.0.0.1", DicomPort, request, options, TimeProvider.System, cancel), calling, "YIZHAN");
        var results = await scu.SendAsync(instances, Cancel);
        return [.. results.Select(r => r.Status)];
    }

    public async Task<ushort?> SendAsync(TestInstance instance) => (await SendAsync([instance.ToSend()])).Single();

    /// <summary>Returns once everything that is in the log is in the index.</summary>
    public async Task IndexedAsync()
    {
        var database = Services.GetRequiredService<ArchiveDatabase>();
        var changes = Services.GetRequiredService<ArchiveChanges>();
        await Wait.UntilAsync(async () =>
        {
            var last = 0L;
            while (await Log.ReadAsync(last, 1000, Cancel) is { Count: > 0 } entries)
            {
                last = entries[^1].Position;
            }

            using var db = database.OpenReader();
            return ArchiveWriter.Cursor(db, Log.Epoch) >= last;
        }, "everything that is in the log is in the index");
    }

    /// <summary>All entries of a type, as JSON.</summary>
    public async Task<IReadOnlyList<JsonNode>> EntriesAsync(string type)
    {
        var found = new List<JsonNode>();
        var last = 0L;
        while (await Log.ReadAsync(last, 1000, Cancel) is { Count: > 0 } entries)
        {
            found.AddRange(entries.Where(e => e.Entry.Type == type).Select(e => JsonNode.Parse(e.Entry.Data.Span)!));
            last = entries[^1].Position;
        }

        return found;
    }

    /// <summary>GET below the DICOMweb root, as JSON array.</summary>
    public async Task<JsonArray> QueryAsync(string path)
    {
        using var response = await Http.GetAsync(new Uri("dicom-web/" + path, UriKind.Relative), Cancel);
        var text = await response.Content.ReadAsStringAsync(Cancel);
        Assert.True(response.StatusCode == HttpStatusCode.OK, $"{path}: {response.StatusCode} {text}");
        Assert.Equal("application/dicom+json", response.Content.Headers.ContentType?.MediaType);
        return JsonNode.Parse(text)!.AsArray();
    }

    public async Task<HttpResponseMessage> GetAsync(string path, string? accept = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri("dicom-web/" + path, UriKind.Relative));
        if (accept is not null)
        {
            request.Headers.TryAddWithoutValidation("Accept", accept);
        }

        return await Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, Cancel);
    }

    /// <summary>The bodies of a multipart/related answer.</summary>
    public static async Task<IReadOnlyList<(string Type, byte[] Body)>> PartsAsync(HttpResponseMessage response)
    {
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        var boundary = response.Content.Headers.ContentType!.Parameters.Single(p => p.Name == "boundary").Value!.Trim('"');
        var reader = new Microsoft.AspNetCore.WebUtilities.MultipartReader(boundary, await response.Content.ReadAsStreamAsync(Cancel));
        var parts = new List<(string, byte[])>();
        while (await reader.ReadNextSectionAsync(Cancel) is { } part)
        {
            var body = new MemoryStream();
            await part.Body.CopyToAsync(body, Cancel);
            parts.Add((part.ContentType!, body.ToArray()));
        }

        return parts;
    }

    /// <summary>Stores parts by STOW-RS.</summary>
    public async Task<(HttpStatusCode Status, JsonObject Answer)> StowAsync(IEnumerable<byte[]> parts, string path = "studies")
    {
        using var content = new MultipartContent("related", "B0UNDARY");
        content.Headers.ContentType!.Parameters.Add(new NameValueHeaderValue("type", "\"application/dicom\""));
        foreach (var part in parts)
        {
            var body = new ByteArrayContent(part);
            body.Headers.ContentType = new MediaTypeHeaderValue("application/dicom");
            content.Add(body);
        }

        using var response = await Http.PostAsync(new Uri("dicom-web/" + path, UriKind.Relative), content, Cancel);
        return (response.StatusCode, JsonNode.Parse(await response.Content.ReadAsStringAsync(Cancel))!.AsObject());
    }
}

/// <summary>A folder whose node is stopped; deleted unless the node is started again.</summary>
internal sealed class StoppedGateway(string folder) : IAsyncDisposable
{
    private bool _started;

    public Task<Gateway> StartAsync(params string[] settings)
    {
        _started = true;
        return Gateway.StartInAsync(folder, settings);
    }

    /// <summary>Loses the archive's index.</summary>
    public void ForgetIndex()
    {
        Microsoft.Data.Sqlite.SqliteConnection.ClearAllPools();
        foreach (var file in Directory.GetFiles(Path.Combine(folder, "pacs-gw"), "archive.db*"))
        {
            File.Delete(file);
        }
    }

    public ValueTask DisposeAsync()
    {
        if (!_started)
        {
            Directory.Delete(folder, recursive: true);
        }

        return ValueTask.CompletedTask;
    }
}

/// <summary>A small CT instance whose data matters to the test.</summary>
/// <param name="Study">Study Instance UID.</param>
/// <param name="Series">Series Instance UID.</param>
/// <param name="Sop">SOP Instance UID.</param>
internal sealed record TestInstance(string Study, string Series, string Sop)
{
    public string PatientName { get; init; } = "Test^One";

    public string PatientId { get; init; } = "P1";

    public string Date { get; init; } = "20260102";

    public string Time { get; init; } = "101530.25";

    public string Modality { get; init; } = "CT";

    public string CharacterSet { get; init; } = "ISO_IR 192";

    public int Number { get; init; } = 1;

    public DicomTransferSyntax Syntax { get; init; } = DicomTransferSyntax.ExplicitVrLittleEndian;

    /// <summary>What else to set.</summary>
    public Action<DicomDataset>? Change { get; init; }

    public DicomDataset ToDataset()
    {
        var dataset = new DicomDataset()
            .Set(DicomTags.SpecificCharacterSet, CharacterSet)
            .Set(DicomTags.SOPClassUID, DicomUids.CtImageStorage)
            .Set(DicomTags.SOPInstanceUID, Sop)
            .Set(DicomTags.StudyDate, Date)
            .Set(DicomTags.StudyTime, Time)
            .Set(DicomTags.AccessionNumber, "A" + PatientId)
            .Set(DicomTags.Modality, Modality)
            .Set(DicomTags.PatientName, PatientName)
            .Set(DicomTags.PatientID, PatientId)
            .Set(DicomTags.StudyInstanceUID, Study)
            .Set(DicomTags.SeriesInstanceUID, Series)
            .Set(DicomTags.InstanceNumber, Number)
            .Set(DicomTags.Rows, 4)
            .Set(DicomTags.Columns, 2)
            .Set(DicomTags.BitsAllocated, 16)
            .Set(DicomTags.SamplesPerPixel, 1)
            .SetBytes(DicomTags.PixelData, Enumerable.Range(0, 16).Select(i => (byte)i).ToArray(), DicomVr.OW);
        Change?.Invoke(dataset);
        return dataset;
    }

    public byte[] ToBytes() => DicomWriter.ToArray(ToDataset(), Syntax);

    public StoreInstance ToSend() => StoreInstance.FromMemory(DicomUids.CtImageStorage, Sop, Syntax.Uid, ToBytes());

    public byte[] ToFile()
    {
        var file = new System.Buffers.ArrayBufferWriter<byte>();
        DicomFile.Create(ToDataset(), Syntax).Write(file);
        return file.WrittenSpan.ToArray();
    }
}

/// <summary>The peers and files that come from outside.</summary>
internal static class Outside
{
    /// <summary>The corpus beside the checkout, whether it is there or not.</summary>
    public static string CorpusFolder { get; } = Path.Combine(Path.GetDirectoryName(Root())!, "shared", "corpus", "dicom", "given");

    /// <summary>Runs one of dcmtk's programs to its end.</summary>
    public static async Task<(int ExitCode, string Output)> DcmtkAsync(string program, params string[] arguments)
    {
        if (!File.Exists("/usr/bin/" + program))
        {
            Assert.Skip($"dcmtk's {program} is not installed.");
        }

        var start = new ProcessStartInfo("/usr/bin/" + program, arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["TCP_NODELAY"] = "1";
        using var process = Process.Start(start)!;
        process.StandardInput.Close();
        var output = process.StandardOutput.ReadToEndAsync(Gateway.Cancel);
        var error = process.StandardError.ReadToEndAsync(Gateway.Cancel);
        await process.WaitForExitAsync(Gateway.Cancel);
        return (process.ExitCode, await output + await error);
    }

    /// <summary>Starts one of dcmtk's programs; whoever does has to kill it.</summary>
    public static Process Start(string program, params string[] arguments)
    {
        if (!File.Exists("/usr/bin/" + program))
        {
            Assert.Skip($"dcmtk's {program} is not installed.");
        }

        return Process.Start(new ProcessStartInfo("/usr/bin/" + program, arguments))!;
    }

    /// <summary>Returns once somebody listens on a port.</summary>
    public static Task ListensAsync(int port) => Wait.UntilAsync(async () =>
    {
        try
        {
            using var probe = new TcpClient();
            await probe.ConnectAsync(IPAddress.Loopback, port, Gateway.Cancel);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }, $"somebody listens on port {port}");

    /// <summary>The files of one category of the test data beside the checkout.</summary>
    public static IReadOnlyList<string> Files(string category)
    {
        if (!Directory.Exists(CorpusFolder))
        {
            Assert.Skip("The DICOM test files (../shared/corpus/dicom/given) are not here.");
        }

        return [.. Directory.GetFiles(Path.Combine(CorpusFolder, category)).Order(StringComparer.Ordinal)];
    }

    private static string Root()
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(directory.FullName, "global.json")))
        {
            directory = directory.Parent ?? throw new DirectoryNotFoundException("No global.json above the test.");
        }

        return directory.FullName;
    }
}
