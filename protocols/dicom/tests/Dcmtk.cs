using System.Diagnostics;

namespace Yizhan.Dicom.Tests;

/// <summary>Runs dcmtk's tools as an independent opinion.</summary>
internal static class Dcmtk
{
    internal static void SkipIfAbsent()
    {
        if (!File.Exists("/usr/bin/dcmdump"))
        {
            Assert.Skip("dcmtk is not installed.");
        }
    }

    /// <summary>Writes the bytes to a temporary file, runs the tool on it and returns what it prints.</summary>
    internal static (int ExitCode, string Output) Run(string tool, byte[] file, params string[] options)
    {
        var path = Path.GetTempFileName();
        try
        {
            File.WriteAllBytes(path, file);
            var start = new ProcessStartInfo(tool, [.. options, path]) { RedirectStandardOutput = true, RedirectStandardError = true };

            // Only the standard's dictionary: private elements have a VR in explicit encodings only, as in this library.
            start.Environment["DCMDICTPATH"] = Directory.GetDirectories("/usr/share", "libdcmtk*").Max() + "/dicom.dic";
            using var process = Process.Start(start)!;
            var errors = process.StandardError.ReadToEndAsync();
            var output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            errors.GetAwaiter().GetResult();
            return (process.ExitCode, output);
        }
        finally
        {
            File.Delete(path);
        }
    }
}
