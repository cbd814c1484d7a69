using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Yizhan.Bench;

/// <summary>What the disk itself can do: the same bytes appended to one file, with fdatasync after each group.</summary>
internal static class DiskLimit
{
    public static double InstancesPerSecond(string folder, int instances, int instanceBytes, int group)
    {
        Directory.CreateDirectory(folder);
        var path = Path.Combine(folder, "limit.bin");
        var content = RandomNumberGenerator.GetBytes(instanceBytes);
        try
        {
            using var file = File.OpenHandle(path, FileMode.Create, FileAccess.Write, FileShare.None, FileOptions.None);
            var from = Stopwatch.GetTimestamp();
            for (var i = 0; i < instances; i++)
            {
                RandomAccess.Write(file, content, (long)i * instanceBytes);
                if ((i + 1) % group == 0 && FDataSync(file.DangerousGetHandle().ToInt32()) != 0)
                {
                    throw new IOException($"fdatasync of {path} failed with errno {Marshal.GetLastPInvokeError()}.");
                }
            }

            return instances / Stopwatch.GetElapsedTime(from).TotalSeconds;
        }
        finally
        {
            File.Delete(path);
        }
    }

    [DllImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    private static extern int FDataSync(int descriptor);
}
