using System.Diagnostics;
using Yizhan.Dicom.Network;
using Yizhan.Drills;

namespace Yizhan.Bench;

/// <summary>Who sends: dcmtk's storescu, as a process, or our own sender with an asynchronous operations window.</summary>
/// <param name="Name">As in the table.</param>
/// <param name="SendAsync">Port, AE title and files of one association; how many were answered with success.</param>
internal sealed record Sender(string Name, Func<int, string, string[], CancellationToken, Task<int>> SendAsync)
{
    public static Sender[] All { get; } = [new("storescu", StoreScuAsync), new("own sender", OwnAsync)];

    private static async Task<int> StoreScuAsync(int port, string aeTitle, string[] files, CancellationToken cancellationToken)
    {
        var start = new ProcessStartInfo("storescu", ["-aec", aeTitle, "-pdu", "131072", "--max-send-pdu", "131072", "127.0.0.1", $"{port}", .. files])
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        };
        start.Environment["TCP_NODELAY"] = "1";
        using var process = Process.Start(start) ?? throw new InvalidOperationException("storescu could not be started.");
        var output = process.StandardOutput.ReadToEndAsync(cancellationToken);
        var errors = await process.StandardError.ReadToEndAsync(cancellationToken);
        await output;
        await process.WaitForExitAsync(cancellationToken);
        return process.ExitCode == 0 ? files.Length : throw new InvalidOperationException($"storescu failed: {errors}");
    }

    private static async Task<int> OwnAsync(int port, string aeTitle, string[] files, CancellationToken cancellationToken)
    {
        var instances = files.Select(path => InstanceFile.Read(path, path).Instance).ToArray();
        var scu = new StoreScu(
            (request, token) => Connector.RequestAsync("127.0.0.1", port, request, new AssociationOptions(), TimeProvider.System, token),
            Scanner.AeTitle, aeTitle);
        return (await scu.SendAsync(instances, cancellationToken)).Count(result => result.IsStored);
    }
}
