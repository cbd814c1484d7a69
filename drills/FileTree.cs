using System.Diagnostics;

namespace Yizhan.Drills;

/// <summary>Folders of files, as an operator's <c>cp -a</c> and <c>chattr</c> treat them.</summary>
internal static class FileTree
{
    /// <summary>Copies a folder with everything in it; files keep their modes.</summary>
    public static void Copy(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (var file in Directory.EnumerateFiles(from, "*", SearchOption.AllDirectories))
        {
            var target = Path.Combine(to, Path.GetRelativePath(from, file));
            Directory.CreateDirectory(Path.GetDirectoryName(target)!);
            File.Copy(file, target);
        }
    }

    /// <summary>Makes a folder immutable, or takes that back: not even its owner or root can change, add or remove anything meanwhile.</summary>
    /// <returns>Why not; null when it is.</returns>
    public static string? SetImmutable(string folder, bool immutable)
    {
        try
        {
            using var chattr = Process.Start(new ProcessStartInfo("chattr", ["-R", immutable ? "+i" : "-i", folder]) { RedirectStandardError = true, RedirectStandardOutput = true })!;
            var errors = chattr.StandardError.ReadToEnd();
            chattr.WaitForExit();
            return chattr.ExitCode == 0 ? null : errors.Trim();
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            return $"chattr: {e.Message}";
        }
    }
}
