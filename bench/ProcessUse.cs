using System.Diagnostics;
using System.Globalization;

namespace Yizhan.Bench;

/// <summary>What a process has used so far, from <c>/proc</c>: children that ended are counted, as of a server that forks.</summary>
internal static class ProcessUse
{
    /// <summary>Processor time of the process and its reaped children.</summary>
    public static TimeSpan Cpu(Process process) => Cpu(Fields(process.Id)!);

    /// <summary>Processor time of a process, of the children that it has now and of those that ended, as of a server with a process for each session.</summary>
    public static TimeSpan CpuWithChildren(int id)
    {
        var text = id.ToString(CultureInfo.InvariantCulture);
        return Directory.GetDirectories("/proc").Select(Path.GetFileName).Where(name => char.IsAsciiDigit(name![0]))
            .Select(name => (name, fields: Fields(int.Parse(name!, CultureInfo.InvariantCulture)))).Where(p => p.fields is not null && (p.name == text || p.fields[1] == text))
            .Aggregate(TimeSpan.Zero, (sum, p) => sum + Cpu(p.fields!));
    }

    /// <summary>Largest resident memory so far, in MB (10^6 bytes).</summary>
    public static double PeakMemoryMb(Process process) => File.ReadLines($"/proc/{process.Id}/status")
        .Where(line => line.StartsWith("VmHWM:", StringComparison.Ordinal))
        .Select(line => double.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[^2], CultureInfo.InvariantCulture) * 1024 / 1e6)
        .Single();

    // Fields of /proc/PID/stat after the command name in brackets; 14 to 17 are utime, stime, cutime, cstime in 1/100 s.
    private static TimeSpan Cpu(string[] fields) => TimeSpan.FromMilliseconds(10 * fields[11..15].Sum(field => long.Parse(field, CultureInfo.InvariantCulture)));

    /// <summary>Null when the process has ended meanwhile.</summary>
    private static string[]? Fields(int id)
    {
        try
        {
            var stat = File.ReadAllText($"/proc/{id}/stat");
            return stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        }
        catch (IOException)
        {
            return null;
        }
    }
}
