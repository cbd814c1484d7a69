using System.CommandLine;
using System.Text.Json;
using Yizhan.Drills;
using Yizhan.Platform.Identity;

namespace Yizhan.Cli;

/// <summary><c>yizhan up</c>: the centre and one edge site in one process, with their data in one folder.</summary>
internal static class UpCommand
{
    public static Command Create()
    {
        var data = new Option<DirectoryInfo>("--data")
        {
            Description = "Folder for everything that is kept.",
            DefaultValueFactory = _ => new DirectoryInfo(Path.Combine(".yizhan", "up")),
        };
        var peers = new Option<string[]>("--peer")
        {
            Description = "AE title of a further DICOM device that may send, or AETITLE@HOST:PORT of one that can be called too. Repeat for several.",
            AllowMultipleArgumentsPerToken = true,
        };
        var free = new Option<bool>("--free-ports") { Description = "Take ports that nobody listens on instead of 8080, 8081, 8443, 8444 and 11112." };
        var json = new Option<bool>("--json") { Description = "Print one JSON object once both are up." };
        var command = new Command("up", """
            Starts the centre and one edge site and stays up.

            Examples:
              yizhan up
              yizhan up --peer CT_ROOM1 MR_ROOM2
              yizhan up --peer PACS@10.0.0.5:104
              yizhan up --data .yizhan/second --free-ports --json
            """) { data, peers, free, json };
        command.SetAction((parsed, cancellationToken) =>
            RunAsync(parsed.GetValue(data)!, parsed.GetValue(peers) ?? [], parsed.GetValue(free), parsed.GetValue(json), cancellationToken));
        return command;
    }

    /// <summary>The first admin's password, as long as nobody has replaced it.</summary>
    private static string FirstPassword(LocalSite site) =>
        OperatorTokenHandler.Read(Path.Combine(site.CentreFolder, "auth", "first-password")) is { } password
            ? $"admin, {password}  (asks for a password of your own)"
            : "done; more people with yizhan user add";

    /// <summary>This command: what dotnet runs, or a program of its own after a publish. Empty where neither is a file.</summary>
    private static string Self()
    {
        var library = Path.Combine(AppContext.BaseDirectory, typeof(UpCommand).Assembly.GetName().Name + ".dll");
        return File.Exists(library) ? library : Environment.ProcessPath ?? "";
    }

    private static async Task<int> RunAsync(DirectoryInfo data, string[] peers, bool free, bool json, CancellationToken cancellationToken)
    {
        try
        {
            var ports = free ? LocalPorts.Free().WithoutRelay() : LocalPorts.Default;
            if (ports.Taken() is { } taken)
            {
                // Before anything is written: whoever listens there may be another node, which would answer our health check.
                await Console.Error.WriteLineAsync($"yizhan: port {taken} of 127.0.0.1 is taken, by another yizhan up or by another program (ss -ltnp 'sport = :{taken}' says which). Stop that, or use --free-ports.");
                return CommandLine.Failed;
            }

            var site = LocalSite.Prepare(data.FullName, [.. LocalSite.DcmtkPeers, .. peers], ports, centreSettings: "", drillCommand: Self());
            await using var node = await site.StartAllAsync(cancellationToken);
            using var centre = site.CentreClient();
            using var edge = site.EdgeClient();
            var (console, siteConsole) = (await OpenCommand.LinkAsync(centre, cancellationToken), await OpenCommand.LinkAsync(edge, cancellationToken));
            if (json)
            {
                Console.WriteLine(JsonSerializer.Serialize(
                    new
                    {
                        console,
                        siteConsole,
                        centre = site.Ports.CentreWeb,
                        site = site.Ports.EdgeWeb,
                        dicom = new { address = "127.0.0.1", port = site.Ports.Dicom, aeTitle = LocalSite.AeTitle, peers = site.Peers },
                        tokens = new { centre = LocalOperator.PathIn(site.CentreFolder), site = LocalOperator.PathIn(site.EdgeFolder) },
                        data = data.FullName,
                        log = site.LogPath("all"),
                    }, CliJson.Options));
                return await node.WaitForExitAsync(cancellationToken) is 0 ? CommandLine.Ok : CommandLine.Failed;
            }

            Console.WriteLine($"""

                Yizhan is up.
                  Console         {console}  (signs in once; another: yizhan open)
                  Site's console  {siteConsole}  (works without the centre; another: yizhan open --node {site.Ports.EdgeWeb})
                  First sign-in   {FirstPassword(site)}
                  DICOM address   127.0.0.1:{site.Ports.Dicom}, AE title {LocalSite.AeTitle}
                  May send        {string.Join(", ", site.Peers)}  (more with --peer)
                  DICOMweb        {site.Ports.CentreWeb}pacs-gw/dicom-web  (centre), {site.Ports.EdgeWeb}pacs-gw/dicom-web  (site)
                  Token           {LocalOperator.PathIn(site.CentreFolder)}  (centre), {LocalOperator.PathIn(site.EdgeFolder)}  (site)
                  Data            {data.FullName}
                  Logs            {site.LogPath("all")}

                Try:  storescu -aec {LocalSite.AeTitle} 127.0.0.1 {site.Ports.Dicom} FILE.dcm
                Ctrl+C stops it.
                """);
            return await node.WaitForExitAsync(cancellationToken) is 0 ? CommandLine.Ok : CommandLine.Failed;
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            (json ? Console.Error : Console.Out).WriteLine("Stopped.");
            return 0;
        }
        catch (ArgumentException e)
        {
            await Console.Error.WriteLineAsync($"yizhan: {e.Message}");
            return CommandLine.WrongUse;
        }
        catch (Exception e) when (e is InvalidOperationException or IOException or UnauthorizedAccessException or HttpRequestException)
        {
            await Console.Error.WriteLineAsync($"yizhan: {e.Message}");
            return CommandLine.Failed;
        }
    }
}
