using System.CommandLine;
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
        var command = new Command("up", """
            Starts the centre and one edge site and stays up.

            Examples:
              yizhan up
              yizhan up --peer CT_ROOM1 MR_ROOM2
              yizhan up --peer PACS@10.0.0.5:104
            """) { data, peers };
        command.SetAction((parsed, cancellationToken) =>
            RunAsync(parsed.GetValue(data)!, parsed.GetValue(peers) ?? [], cancellationToken));
        return command;
    }

    /// <summary>The first admin's password, as long as nobody has replaced it.</summary>
    private static string FirstPassword(LocalSite site) =>
        OperatorTokenHandler.Read(Path.Combine(site.CentreFolder, "auth", "first-password")) is { } password
            ? $"admin, {password}  (asks for a password of your own)"
            : "done; more people with yizhan user add";

    private static async Task<int> RunAsync(DirectoryInfo data, string[] peers, CancellationToken cancellationToken)
    {
        try
        {
            var site = LocalSite.Prepare(data.FullName, [.. LocalSite.DcmtkPeers, .. peers], LocalPorts.Default);
            await using var node = await site.StartAllAsync(cancellationToken);
            using var centre = site.CentreClient();
            Console.WriteLine($"""

                Yizhan is up.
                  Console         {await OpenCommand.LinkAsync(centre, cancellationToken)}  (signs in once; another: yizhan open)
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
            return await node.WaitForExitAsync(cancellationToken);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            Console.WriteLine("Stopped.");
            return 0;
        }
        catch (ArgumentException e)
        {
            await Console.Error.WriteLineAsync($"yizhan: {e.Message}");
            return 64;
        }
        catch (InvalidOperationException e)
        {
            await Console.Error.WriteLineAsync($"yizhan: {e.Message}");
            return 70;
        }
    }
}
