using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using Yizhan.Transparency;

namespace Yizhan.Audit.Tree;

/// <summary>What <see cref="DurableFolder"/> did: a test stops it there, or draws what a power cut would leave.</summary>
internal enum FileStep
{
    Written,
    Synced,
    Renamed,
    FolderSynced,
    Appended,
    Deleted,
}

/// <summary>Files that are complete or absent after a power cut: written aside, flushed, renamed; then the folder's names are flushed.</summary>
/// <param name="root">Folder; created when missing.</param>
/// <param name="onStep">Called after each step with the path below the root.</param>
internal sealed partial class DurableFolder(string root, Action<FileStep, string>? onStep = null)
{
    private readonly HashSet<string> _unsyncedFolders = [];

    public string Root { get; } = Path.GetFullPath(root);

    /// <summary>Writes a whole file. It is durable after the next <see cref="SyncNames"/>, and never seen half.</summary>
    public void Replace(string path, ReadOnlySpan<byte> bytes, UnixFileMode mode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead)
    {
        var target = Path.Combine(Root, path);
        CreateFolders(Path.GetDirectoryName(target)!);
        var options = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, BufferSize = 0 };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = mode;
        }

        using (var file = new FileStream(target + LogVerifier.Temporary, options))
        {
            file.Write(bytes);
            onStep?.Invoke(FileStep.Written, path);
            RandomAccess.FlushToDisk(file.SafeFileHandle);
            onStep?.Invoke(FileStep.Synced, path);
        }

        File.Move(target + LogVerifier.Temporary, target, overwrite: true);
        _unsyncedFolders.Add(Path.GetDirectoryName(target)!);
        onStep?.Invoke(FileStep.Renamed, path);
    }

    /// <summary>
    /// Writes at the end of a file that only grows, after <paramref name="offset"/> bytes that are there, and flushes it. What a kill left
    /// after these is overwritten. A new name is durable after the next <see cref="SyncNames"/>.
    /// </summary>
    public void Append(string path, long offset, ReadOnlySpan<byte> bytes)
    {
        var target = Path.Combine(Root, path);
        CreateFolders(Path.GetDirectoryName(target)!);
        if (!File.Exists(target))
        {
            _unsyncedFolders.Add(Path.GetDirectoryName(target)!);
        }

        var options = new FileStreamOptions { Mode = FileMode.OpenOrCreate, Access = FileAccess.Write, Share = FileShare.Read, BufferSize = 0 };
        if (!OperatingSystem.IsWindows() && !File.Exists(target))
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead;
        }

        using var file = new FileStream(target, options);
        if (file.Length > offset)
        {
            file.SetLength(offset);
        }

        RandomAccess.Write(file.SafeFileHandle, bytes, offset);
        RandomAccess.FlushToDisk(file.SafeFileHandle);
        onStep?.Invoke(FileStep.Appended, path);
    }

    /// <summary>Flushes the names of what was written since the last call.</summary>
    public void SyncNames()
    {
        foreach (var folder in _unsyncedFolders)
        {
            SyncFolder(folder);
            onStep?.Invoke(FileStep.FolderSynced, Path.GetRelativePath(Root, folder));
        }

        _unsyncedFolders.Clear();
    }

    /// <summary>Makes durable what names the root has, whoever gave them.</summary>
    public void SyncRoot()
    {
        CreateFolders(Root);
        _unsyncedFolders.Add(Root);
        SyncNames();
    }

    /// <summary>Deletes a file, and its folder when that was the last one in it. Not flushed: it may come back after a power cut.</summary>
    public void Delete(string path)
    {
        var target = Path.Combine(Root, path);
        File.Delete(target);
        if (Path.GetDirectoryName(target) is { } folder && folder.EndsWith(".p", StringComparison.Ordinal)
            && !Directory.EnumerateFileSystemEntries(folder).Any())
        {
            Directory.Delete(folder);
        }

        onStep?.Invoke(FileStep.Deleted, path);
    }

    private void CreateFolders(string folder)
    {
        if (!Directory.Exists(folder))
        {
            var parent = Path.GetDirectoryName(folder)!;
            CreateFolders(parent);
            Directory.CreateDirectory(folder);
            _unsyncedFolders.Add(parent);
        }
    }

    private static void SyncFolder(string folder)
    {
        const int closeOnExec = 0x80000;
        using var handle = Open(folder, closeOnExec);
        if (handle.IsInvalid || FSync(handle) != 0)
        {
            throw new IOException($"The names of folder '{folder}' could not be flushed: {Marshal.GetLastPInvokeErrorMessage()}");
        }
    }

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial SafeFileHandle Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int FSync(SafeFileHandle file);
}
