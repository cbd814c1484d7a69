using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.Tests;

public sealed class FailedStartTests
{
    /// <summary>Else the folder cannot be moved away or mended while the process that reports the damage still runs.</summary>
    [Theory]
    [InlineData("sqlite")]
    [InlineData("segments")]
    public async Task A_start_that_fails_leaves_no_file_of_the_folder_open(string kind)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "It reads /proc.");
        await using var store = LocalStore.Open(kind);
        await store.Log.AppendAsync(Given.Entry("one"));
        await store.Spool.DisposeAsync();
        Assert.Empty(OpenFiles(store.Folder));

        await Assert.ThrowsAsync<InvalidOperationException>(async () =>
        {
            await using var other = LocalStore.Open(kind, site: "another", folder: store.Folder);
        });
        Assert.Empty(OpenFiles(store.Folder));
    }

    private static string[] OpenFiles(string folder) =>
        [.. Directory.EnumerateFiles("/proc/self/fd").Select(TargetOf).Where(path => path.StartsWith(folder, StringComparison.Ordinal))];

    /// <summary>Other tests run at the same time: what they close between the listing and the look is no file of this folder.</summary>
    private static string TargetOf(string path)
    {
        try
        {
            return File.ResolveLinkTarget(path, false)?.FullName ?? "";
        }
        catch (FileNotFoundException)
        {
            return "";
        }
    }
}
