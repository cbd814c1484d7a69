using System.Globalization;

namespace Yizhan.Simulation;

/// <summary>Everything that happened in a run, as a hash, and as lines when somebody wants to read it.</summary>
internal sealed class RunTrace(EventLoop loop, TextWriter? lines)
{
    private const ulong Prime = 0x100000001B3;

    /// <summary>FNV-1a of all lines so far.</summary>
    public ulong Hash { get; private set; } = 0xCBF29CE484222325;

    public void Note(string what)
    {
        loop.AssertThread();
        var hash = (Hash ^ (ulong)loop.Now.Ticks) * Prime;
        foreach (var c in what)
        {
            hash = (hash ^ c) * Prime;
        }

        Hash = hash;
        lines?.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{loop.Now:d\\.hh\\:mm\\:ss\\.ffffff} {what}"));
    }
}
