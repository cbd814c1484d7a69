using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Yizhan.Platform.Standby;

/// <summary>
/// Who leads in a data folder. The lease is the lock of <c>log/lease.lock</c>, which the kernel takes back when the process ends, however it ends; <c>log/lease.json</c> beside it says who
/// has it, and its time is set anew each second for as long as that process runs.
/// </summary>
internal sealed class NodeLease : IDisposable
{
    private static readonly TimeSpan Beat = TimeSpan.FromSeconds(1);

    private readonly FileStream _lock;
    private readonly ManualResetEventSlim _end = new();
    private readonly Thread _beats;

    private NodeLease(FileStream held, string note)
    {
        _lock = held;

        // A thread of its own: a busy pool must not look like a process that stands still.
        _beats = new Thread(() => Run(note)) { IsBackground = true, Name = "lease" };
        _beats.Start();
    }

    /// <summary>Takes the lease of a folder; null when another process has it.</summary>
    /// <exception cref="UnauthorizedAccessException">The folder may not be written.</exception>
    public static NodeLease? TryTake(string folder)
    {
        Directory.CreateDirectory(folder);
        FileStream held;
        try
        {
            held = new FileStream(Path.Combine(folder, "lease.lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException)
        {
            return null;
        }

        try
        {
            AtomicFile.Write(NoteIn(folder), JsonSerializer.SerializeToUtf8Bytes(LeaseHolder.Own(), LeaseJson.Default.LeaseHolder), secret: false, overwrite: true);
            return new NodeLease(held, NoteIn(folder));
        }
        catch
        {
            held.Dispose();
            throw;
        }
    }

    /// <summary>Who wrote last that he leads, and when he last showed that he runs; nulls when nobody ever did.</summary>
    public static (LeaseHolder? Holder, long Beat) Look(string folder)
    {
        try
        {
            var note = NoteIn(folder);
            return (JsonSerializer.Deserialize(File.ReadAllBytes(note), LeaseJson.Default.LeaseHolder), File.GetLastWriteTimeUtc(note).Ticks);
        }
        catch (Exception e) when (e is IOException or JsonException)
        {
            return (null, 0);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _end.Set();
        _beats.Join();
        _end.Dispose();
        _lock.Dispose();
    }

    private static string NoteIn(string folder) => Path.Combine(folder, "lease.json");

    private void Run(string note)
    {
        while (!_end.Wait(Beat))
        {
            try
            {
                File.SetLastWriteTimeUtc(note, TimeProvider.System.GetUtcNow().UtcDateTime);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // A disk that fails stops the log, which says so; a waiting process sees no beats then, as it should.
            }
        }
    }
}

/// <summary>A process that leads.</summary>
/// <param name="Machine">Its machine's name.</param>
/// <param name="Processes">Which process numbers it means: those of one boot and one container.</param>
/// <param name="Pid">Its number.</param>
/// <param name="Started">When it was started, in the kernel's ticks: a number that was given anew is another process.</param>
internal sealed record LeaseHolder(string Machine, string Processes, int Pid, long Started)
{
    /// <summary>This process.</summary>
    public static LeaseHolder Own() => new(Environment.MachineName, Here(), Environment.ProcessId, StartOf(Environment.ProcessId) ?? 0);

    /// <summary>Ends the process at once, wherever it stands; false when that is not possible from here.</summary>
    public bool TryEnd()
    {
        if (Machine != Environment.MachineName || Processes.Length == 0 || Processes != Here() || StartOf(Pid) != Started)
        {
            return false;
        }

        try
        {
            using var process = Process.GetProcessById(Pid);
            process.Kill();
            return true;
        }
        catch (Exception e) when (e is ArgumentException or InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Machine} pid {Pid}");

    private static string Here()
    {
        const string boot = "/proc/sys/kernel/random/boot_id";
        return File.Exists(boot) ? $"{File.ReadAllText(boot).Trim()} {new FileInfo("/proc/self/ns/pid").LinkTarget}" : "";
    }

    /// <summary>Field 22 of <c>/proc/PID/stat</c>, behind the name, which may have spaces; null when there is no such process.</summary>
    private static long? StartOf(int pid)
    {
        try
        {
            var stat = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}/stat"));
            return long.Parse(stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[19], CultureInfo.InvariantCulture);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web)]
[JsonSerializable(typeof(LeaseHolder))]
internal sealed partial class LeaseJson : JsonSerializerContext;
