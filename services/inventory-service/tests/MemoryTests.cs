using System.Text;
using Yizhan.Inventory.Collect;

namespace Yizhan.Inventory.Tests;

/// <summary>Runs alone, because what it counts is the whole process.</summary>
[Collection(nameof(MemoryTests))]
[CollectionDefinition(nameof(MemoryTests), DisableParallelization = true)]
public sealed class MemoryTests : IDisposable
{
    private readonly Folder _folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task A_large_list_is_read_in_little_memory()
    {
        // 1 GB in the long run, else enough to tell a stream from a list.
        var megabytes = Environment.GetEnvironmentVariable("YIZHAN_LONG") is null ? 48 : 1024;
        await using (var writer = new StreamWriter(_folder["large.csv"], false, CodePagesEncodingProvider.Instance.GetEncoding("GB18030")!, 1024 * 1024))
        {
            await writer.WriteAsync("编码,名称,批号,有效期,数量,单位\n");
            for (var i = 0; writer.BaseStream.Length < megabytes * 1_000_000L; i++)
            {
                await writer.WriteAsync($"C{i},\"碘海醇注射液, {i}\",L{i % 97},2027-12-31,{i % 1000},瓶\n");
            }
        }

        var file = await DropFolder.InspectAsync(_folder["large.csv"], Cancel);
        Assert.False(file.IsUtf8);
        var rows = 0;
        var most = 0L;
        foreach (var row in StockTable.Read(file, ""))
        {
            if (rows++ % 100_000 == 0)
            {
                most = Math.Max(most, GC.GetTotalMemory(forceFullCollection: true));
            }
        }

        Assert.InRange(rows, megabytes * 10_000, megabytes * 40_000);
        // A list of the rows, or a cache of their fields, is more.
        Assert.InRange(most, 0, 100_000_000);
    }
}
