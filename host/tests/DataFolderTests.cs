namespace Yizhan.Host.Tests;

/// <summary>Who else is on the machine does not read what a node keeps: indexes have patients' names in them.</summary>
[Trait("Clause", "S1")]
[System.Runtime.Versioning.UnsupportedOSPlatform("windows")]
public sealed class DataFolderTests : IDisposable
{
    private const UnixFileMode Owner = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const UnixFileMode Wide = Owner | UnixFileMode.GroupRead | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherExecute;

    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-mode-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_new_data_folder_is_for_its_owner_only_and_an_older_one_of_a_node_is_closed_to_others()
    {
        var data = Path.Combine(_folder, "below", "data");
        await BuildAsync(data);
        Assert.Equal(Owner, File.GetUnixFileMode(data));

        // As an earlier version made it.
        Directory.CreateDirectory(Path.Combine(data, "identity"));
        File.SetUnixFileMode(data, Wide);
        await BuildAsync(data);
        Assert.Equal(Owner | UnixFileMode.GroupRead | UnixFileMode.GroupExecute, File.GetUnixFileMode(data));
    }

    [Fact]
    public async Task A_folder_that_no_node_made_stays_as_it_is()
    {
        var shared = Directory.CreateDirectory(Path.Combine(_folder, "shared")).FullName;
        File.SetUnixFileMode(shared, Wide);
        await BuildAsync(shared);
        Assert.Equal(Wide, File.GetUnixFileMode(shared));
    }

    private static async Task BuildAsync(string data)
    {
        await using var node = Nodes.Edge([$"--node:dataFolder={data}", "--node:siteId=site-a", "--log:level=error", "--pacs-gw:dicomPort=0"]).Build();
    }
}
