using Microsoft.Extensions.Hosting;

namespace Yizhan.Platform;

/// <summary>Lets a module ask that its node is stopped in order and started again in the same process, with its configuration read anew.</summary>
public sealed class NodeRestart(IHostApplicationLifetime lifetime)
{
    /// <summary>True once somebody has asked.</summary>
    public bool Requested { get; private set; }

    /// <summary>Asks for it.</summary>
    public void Request()
    {
        Requested = true;
        lifetime.StopApplication();
    }
}
