using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Yizhan.Dicom.Network;

namespace Yizhan.Dicom.Tests.Network;

/// <summary>dcmtk's programs, from Debian, as they are.</summary>
internal static class Dcmtk
{
    public static async Task<(int ExitCode, string Output)> RunAsync(string program, params string[] arguments)
    {
        using var process = Start(program, arguments);
        var output = Task.WhenAll(process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        limit.CancelAfter(TimeSpan.FromMinutes(3));
        try
        {
            await process.WaitForExitAsync(limit.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill();
            throw new TimeoutException($"{program} {string.Join(' ', arguments)} did not end.");
        }

        return (process.ExitCode, string.Concat(await output));
    }

    public static Process Start(string program, params string[] arguments)
    {
        Assert.SkipUnless(File.Exists("/usr/bin/" + program), $"{program} is not installed (Debian package dcmtk).");
        return Process.Start(new ProcessStartInfo("/usr/bin/" + program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
    }
}

/// <summary>dcmtk's storescp on a free port, writing what it gets into a temporary folder, bit for bit.</summary>
internal sealed class StoreScpPeer : IAsyncDisposable
{
    private readonly Process _process;

    private StoreScpPeer(Process process, int port, string folder) => (_process, Port, Folder) = (process, port, folder);

    public int Port { get; }

    public string Folder { get; }

    public static async Task<StoreScpPeer> StartAsync(params string[] arguments)
    {
        var port = FreePorts.Next();
        var folder = Directory.CreateTempSubdirectory("yizhan-storescp-").FullName;
        var process = Dcmtk.Start("storescp", ["+B", "-od", folder, "+xa", .. arguments, $"{port}"]);
        process.OutputDataReceived += (_, _) => { };
        process.ErrorDataReceived += (_, _) => { };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        for (var i = 0; i < 10_000; i++)
        {
            try
            {
                using var probe = new TcpClient();
                await probe.ConnectAsync(IPAddress.Loopback, port);
                return new(process, port, folder);
            }
            catch (SocketException)
            {
                await Task.Delay(20, TestContext.Current.CancellationToken);
            }
        }

        process.Kill();
        throw new InvalidOperationException("storescp did not open its port.");
    }

    public async ValueTask DisposeAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
        Directory.Delete(Folder, recursive: true);
    }
}

/// <summary>Our SCP on a free loopback port: keeps each received instance in memory.</summary>
internal sealed class TestScp : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly List<Task> _associations = [];
    private readonly Task _accepting;

    public TestScp()
    {
        _listener.Start();
        _accepting = AcceptAsync();
    }

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    public AssociationOptions Options { get; init; } = new();

    public TimeProvider Clock { get; init; } = TimeProvider.System;

    public Func<AssociateRequest, AssociateAnswer> Decide { get; init; } = AcceptEverything;

    /// <summary>Called when an instance is complete; gives the status.</summary>
    public Func<DimseMessage, CancellationToken, Task<ushort>> OnStored { get; init; } = (_, _) => Task.FromResult(DimseStatus.Success);

    public List<Stored> Received { get; } = [];

    public List<Exception> Failures { get; } = [];

    public List<AssociateRequest> Requests { get; } = [];

    public static AssociateAnswer AcceptEverything(AssociateRequest request) => AssociateAnswer.Accept(
        request.PresentationContexts.Select(c => new PresentationContextResult(c.Id, ContextResult.Acceptance, c.TransferSyntaxes[0])));

    /// <summary>Ends when every association so far has ended.</summary>
    public Task Quiet()
    {
        lock (_associations)
        {
            return Task.WhenAll(_associations);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _accepting;
        await Quiet();
        _listener.Dispose();
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var socket = await _listener.AcceptSocketAsync(_stop.Token);
                lock (_associations)
                {
                    _associations.Add(ServeAsync(socket));
                }
            }
        }
        catch (OperationCanceledException)
        {
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        await Task.Yield();
        try
        {
            socket.NoDelay = true;
            var stream = new NetworkStream(socket, ownsSocket: true);
            await using var association = await Association.AcceptAsync(
                Connector.CreateReader(stream), stream, (request, _) => { Add(Requests, request); return new(Decide(request)); }, Options, Clock, _stop.Token);
            if (association is not null)
            {
                await ServiceLoop.ServeAsync(association, (message, cancel) => StoreAsync(association, message, cancel), _stop.Token);
            }
        }
        catch (Exception e)
        {
            Add(Failures, e);
        }
    }

    private async Task StoreAsync(Association association, DimseMessage message, CancellationToken cancellationToken)
    {
        var bytes = new MemoryStream();
        if (message.DataSet is { } dataSet)
        {
            await dataSet.CopyToAsync(bytes, cancellationToken);
        }

        Add(Received, new(message.Command.SopInstanceUid ?? "", message.PresentationContext, bytes.ToArray()));
        var status = await OnStored(message, cancellationToken);
        await association.SendAsync(message.PresentationContext.Id, message.Command.CreateResponse(status), cancellationToken);
    }

    private static void Add<T>(List<T> list, T item)
    {
        lock (list)
        {
            list.Add(item);
        }
    }

    public sealed record Stored(string SopInstanceUid, AcceptedContext Context, byte[] DataSet);
}
