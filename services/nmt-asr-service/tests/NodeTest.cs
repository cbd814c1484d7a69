using Microsoft.AspNetCore.Builder;
using Yizhan.Platform;

namespace Yizhan.NmtAsr.Tests;

/// <summary>A test class with a node of its own: a folder, a socket, and the settings that it names.</summary>
public abstract class NodeTest(params string[] settings) : IAsyncLifetime
{
    /// <summary>The node's data folder.</summary>
    protected string Folder { get; } = Directory.CreateTempSubdirectory("yizhan-asr-").FullName;

    /// <summary>The node.</summary>
    protected WebApplication App { get; private set; } = null!;

    /// <summary>Ends with the test.</summary>
    protected static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        Prepare();
        App = new ServiceHost([$"--node:dataFolder={Folder}", "--node:siteId=site-a", "--web:url=http://127.0.0.1:0", "--log:level=none", "--storage:freeFloorBytes=0", .. settings])
            .Add<NmtAsrModule>().Build();
        await App.StartAsync(Cancel);
    }

    public async ValueTask DisposeAsync()
    {
        await App.StopAsync(CancellationToken.None);
        await App.DisposeAsync();
        Directory.Delete(Folder, recursive: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>What has to be in the folder before the node starts.</summary>
    protected virtual void Prepare()
    {
    }
}
