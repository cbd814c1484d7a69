using System.Diagnostics;
using Yizhan.Dicom;
using Yizhan.Samples;

namespace Yizhan.AiInfer.Tests;

/// <summary>What others say of our objects: dicom3tools and dcmtk.</summary>
internal static class Verifier
{
    public static void Require() =>
        Assert.SkipUnless(File.Exists("/usr/bin/dciodvfy") && File.Exists("/usr/bin/dcmdump"), "dicom3tools or dcmtk is not installed.");

    /// <summary>dciodvfy takes the object for this IOD and finds no error; dcmdump reads the disclaimer in it.</summary>
    /// <param name="dataset">The object.</param>
    /// <param name="folder">Where its file is written.</param>
    /// <param name="name">Name of the file; with a folder, also below <c>YIZHAN_KEEP_OBJECTS</c>.</param>
    /// <param name="iod">Name of the IOD as dciodvfy has it.</param>
    public static async Task AcceptedAsync(DicomDataset dataset, string folder, string name, string iod)
    {
        var path = Path.Combine(folder, Path.GetFileName(name));
        await File.WriteAllBytesAsync(path, CtStudy.ToFile(dataset), Node.Cancel);
        if (Environment.GetEnvironmentVariable("YIZHAN_KEEP_OBJECTS") is { Length: > 0 } keep)
        {
            // For the readers in readers/, which run after this.
            var kept = Path.Combine(keep, name);
            Directory.CreateDirectory(Path.GetDirectoryName(kept)!);
            File.Copy(path, kept, overwrite: true);
        }

        var verified = await RunAsync("dciodvfy", path);
        Assert.Contains(iod, verified, StringComparison.Ordinal);
        Assert.DoesNotContain("Error -", verified, StringComparison.Ordinal);
        var dumped = await RunAsync("dcmdump", "-q", path);
        Assert.Contains("NOT FOR CLINICAL USE", dumped, StringComparison.Ordinal);
    }

    private static async Task<string> RunAsync(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var output = process.StandardOutput.ReadToEndAsync(Node.Cancel);
        var errors = process.StandardError.ReadToEndAsync(Node.Cancel);
        await process.WaitForExitAsync(Node.Cancel);
        return await output + await errors;
    }
}
