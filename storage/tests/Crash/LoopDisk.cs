using System.Diagnostics;

namespace Yizhan.Storage.Tests.Crash;

/// <summary>
/// A real file system on a loop device whose power can be cut: a copy of what has reached the device, taken while the writer stands still, has none of the page
/// cache of the file system, as after a power cut.
/// </summary>
internal sealed class LoopDisk : IAsyncDisposable
{
    private const int MaxCopies = 20;

    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-loop-").FullName;
    private readonly string _options;
    private int _images;
    private bool _mounted;

    private LoopDisk(string options)
    {
        _options = options;
        Root = Path.Combine(_folder, "mounted");
        Directory.CreateDirectory(Root);
    }

    /// <summary>Where it is mounted.</summary>
    public string Root { get; }

    private string Image => Path.Combine(_folder, $"{_images}.img");

    /// <summary>Makes a file system and mounts it; null where that is not allowed or there is no such program.</summary>
    public static async Task<LoopDisk?> TryMakeAsync(string fileSystem, string options)
    {
        var disk = new LoopDisk(options.Length == 0 ? "loop" : "loop," + options);
        await using (var image = File.Create(disk.Image))
        {
            // XFS takes no less than 300 MB.
            image.SetLength(512L * 1024 * 1024);
        }

        if (await RunAsync($"mkfs.{fileSystem}", fileSystem == "xfs" ? ["-q", disk.Image] : ["-q", "-F", disk.Image]) == 0 && await disk.MountAsync())
        {
            return disk;
        }

        await disk.DisposeAsync();
        return null;
    }

    /// <summary>Stops a process, cuts the power, ends the process, and mounts what is left.</summary>
    public async Task CutAsync(Process writer)
    {
        var before = Image;
        Assert.Equal(0, await RunAsync("kill", "-STOP", $"{writer.Id}"));
        _images++;

        // The file system's own threads do not stand still. A copy during which they wrote has parts of several moments, which no disk ever had at once.
        var copies = 0;
        do
        {
            Assert.True(++copies <= MaxCopies, $"The device changed during each of {MaxCopies} copies.");
            Assert.Equal(0, await RunAsync("cp", "--sparse=always", "--reflink=auto", before, Image));
        }
        while (await RunAsync("cmp", "-s", before, Image) != 0);
        writer.Kill();
        await writer.WaitForExitAsync(CancellationToken.None);
        Assert.Equal(0, await RunAsync("umount", Root));
        _mounted = false;
        File.Delete(before);
        Assert.True(await MountAsync(), "What the power cut left cannot be mounted.");
    }

    public async ValueTask DisposeAsync()
    {
        if (_mounted)
        {
            // At once, whoever still has a file of it open: a start that failed may have.
            await RunAsync("umount", "-l", Root);
        }

        Directory.Delete(_folder, recursive: true);
    }

    /// <summary>Runs a program to its end; its exit code, -1 when there is no such program.</summary>
    public static async Task<int> RunAsync(string program, params string[] arguments)
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true })!;
            await Task.WhenAll(process.StandardError.ReadToEndAsync(CancellationToken.None), process.StandardOutput.ReadToEndAsync(CancellationToken.None));
            await process.WaitForExitAsync(CancellationToken.None);
            return process.ExitCode;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return -1;
        }
    }

    private async Task<bool> MountAsync() => _mounted = await RunAsync("mount", "-o", _options, Image, Root) == 0;
}
