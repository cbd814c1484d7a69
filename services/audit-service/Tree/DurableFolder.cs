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
    private static readonly ParallelOptions AtOnce = new() { MaxDegreeOfParallelism = 16 };
    private readonly HashSet<string> _unsyncedFolders = [];
    private readonly List<(string Path, FileStream File, bool IsAside)> _staged = [];

    public string Root { get; } = Path.GetFullPath(root);

    /// <summary>Writes a whole file: durable on return but for its name, which is after the next <see cref="SyncNames"/>. Never seen half.</summary>
    public void Replace(string path, ReadOnlySpan<byte> bytes, UnixFileMode mode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead)
    {
        StageReplace(path, bytes, mode);
        SyncStaged();
    }

    /// <summary>Writes a whole file aside; <see cref="SyncStaged"/> puts it into its place.</summary>
    public void StageReplace(string path, ReadOnlySpan<byte> bytes, UnixFileMode mode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead)
    {
        var target = Path.Combine(Root, path);
        CreateFolders(Path.GetDirectoryName(target)!);
        var options = new FileStreamOptions { Mode = FileMode.Create, Access = FileAccess.Write, BufferSize = 0 };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = mode;
        }

        var file = new FileStream(target + LogVerifier.Temporary, options);
        _staged.Add((path, file, IsAside: true));
        file.Write(bytes);
        onStep?.Invoke(FileStep.Written, path);
    }

    /// <summary>
    /// Writes at the end of a file that only grows, after <paramref name="offset"/> bytes that are there. What a kill left after these is
    /// overwritten. Durable after <see cref="SyncStaged"/>, a new name after <see cref="SyncNames"/>.
    /// </summary>
    public void StageAppend(string path, long offset, ReadOnlySpan<byte> bytes)
    {
        var target = Path.Combine(Root, path);
        CreateFolders(Path.GetDirectoryName(target)!);
        var options = new FileStreamOptions { Mode = FileMode.OpenOrCreate, Access = FileAccess.Write, Share = FileShare.Read, BufferSize = 0 };
        if (!File.Exists(target))
        {
            _unsyncedFolders.Add(Path.GetDirectoryName(target)!);
            if (!OperatingSystem.IsWindows())
            {
                options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead;
            }
        }

        var file = new FileStream(target, options);
        _staged.Add((path, file, IsAside: false));
        if (file.Length > offset)
        {
            file.SetLength(offset);
        }

        RandomAccess.Write(file.SafeFileHandle, bytes, offset);
    }

    /// <summary>Flushes what was staged, all at once so that the disk's journal is written once for all, and renames what was written aside.</summary>
    public void SyncStaged()
    {
        try
        {
            Parallel.ForEach(_staged, AtOnce, staged => RandomAccess.FlushToDisk(staged.File.SafeFileHandle));
            foreach (var (path, file, isAside) in _staged)
            {
                file.Dispose();
                onStep?.Invoke(isAside ? FileStep.Synced : FileStep.Appended, path);
            }

            foreach (var (path, _, _) in _staged.Where(s => s.IsAside))
            {
                var target = Path.Combine(Root, path);
                File.Move(target + LogVerifier.Temporary, target, overwrite: true);
                _unsyncedFolders.Add(Path.GetDirectoryName(target)!);
                onStep?.Invoke(FileStep.Renamed, path);
            }
        }
        finally
        {
            _staged.ForEach(s => s.File.Dispose());
            _staged.Clear();
        }
    }

    /// <summary>Flushes the names of what was written since the last call.</summary>
    public void SyncNames()
    {
        Parallel.ForEach(_unsyncedFolders, AtOnce, SyncFolder);
        foreach (var folder in _unsyncedFolders)
        {
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
