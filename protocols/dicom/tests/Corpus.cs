namespace Yizhan.Dicom.Tests;

/// <summary>The test files that lie beside the checkout (../shared), if they are there.</summary>
internal static class Corpus
{
    internal static string Folder { get; } = Find();

    internal static bool IsPresent => Directory.Exists(Folder);

    /// <summary>Paths relative to the folder; a single empty one when it is absent, so that the test shows as skipped.</summary>
    internal static TheoryData<string> Files() => IsPresent
        ? new(Directory.GetFiles(Folder, "*", SearchOption.AllDirectories).Select(f => Path.GetRelativePath(Folder, f)).Order(StringComparer.Ordinal))
        : new("");

    internal static byte[] Read(string file)
    {
        SkipIfAbsent();
        return File.ReadAllBytes(Path.Combine(Folder, file));
    }

    internal static void SkipIfAbsent()
    {
        if (!IsPresent)
        {
            Assert.Skip("The DICOM test files (../shared/corpus/dicom/given) are not here.");
        }
    }

    private static string Find()
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (directory is not null && !File.Exists(Path.Combine(directory.FullName, "global.json")))
        {
            directory = directory.Parent;
        }

        return Path.Combine(directory?.Parent?.FullName ?? "/", "shared", "corpus", "dicom", "given");
    }
}
