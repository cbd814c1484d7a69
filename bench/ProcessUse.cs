using System.Diagnostics;
using System.Globalization;

namespace Yizhan.Bench;

/// <summary>What a process has used so far, from <c>/proc</c>: children that ended are counted, as of a server that forks.</summary>
internal static class ProcessUse
{
    /// <summary>Processor time of the process and its reaped children.</summary>
    public static TimeSpan Cpu(Process process)
    {
        // Fields of /proc/PID/stat after the command name in brackets; 14 to 17 are utime, stime, cutime, cstime in 1/100 s.
        var stat = File.ReadAllText($"/proc/{process.Id}/stat");
        var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        return TimeSpan.FromMilliseconds(10 * fields[11..15].Sum(field => long.Parse(field, CultureInfo.InvariantCulture)));
    }

    /// <summary>Largest resident memory so far, in MB (10^6 bytes).</summary>
    public static double PeakMemoryMb(Process process) => File.ReadLines($"/proc/{process.Id}/status")
        .Where(line => line.StartsWith("VmHWM:", StringComparison.Ordinal))
        .Select(line => double.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[^2], CultureInfo.InvariantCulture) * 1024 / 1e6)
        .Single();
}
