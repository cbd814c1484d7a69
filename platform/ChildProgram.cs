using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;

namespace Yizhan.Platform;

/// <summary>
/// This program once more, as a child process with a ceiling on its memory: for what may end its process. It is called with a verb, as <c>Program.cs</c> of each program that has the service takes it, in a build
/// (by <c>dotnet</c>) as well as where it was published with its runtime, as in the images: there is no <c>dotnet</c> on the path, and nothing of Debian's that an image may or may not have is needed.
/// </summary>
public static partial class ChildProgram
{
    private const string MemoryVariable = "YIZHAN_CHILD_MEMORY";

    // Linux on x64 and arm64.
    private const int DataResource = 2, CoreResource = 4;

    /// <summary>How the child is started; its standard streams are the caller's.</summary>
    /// <param name="service">The assembly of the service whose verb it is: its own program in a build.</param>
    /// <param name="memoryMiB">Most memory that it may write to; what the garbage collector only reserves does not count.</param>
    /// <param name="workingFolder">Where it starts.</param>
    /// <param name="arguments">The verb and what follows it.</param>
    public static ProcessStartInfo Start(Assembly service, int memoryMiB, string workingFolder, params string[] arguments)
    {
        ArgumentNullException.ThrowIfNull(service);
        string[] command = [.. Command(Environment.ProcessPath, service.Location), .. arguments];
        return new ProcessStartInfo(command[0], command[1..])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = workingFolder,
            Environment = { [MemoryVariable] = (memoryMiB * 1024L * 1024).ToString(CultureInfo.InvariantCulture) },
        };
    }

    /// <summary>Takes the ceiling, as a child; does nothing in a program that somebody else started. The first thing that a verb does: nothing hostile is loaded before.</summary>
    /// <exception cref="InvalidOperationException">The system does not give it.</exception>
    public static void Confine()
    {
        if (!ulong.TryParse(Environment.GetEnvironmentVariable(MemoryVariable), CultureInfo.InvariantCulture, out var bytes))
        {
            return;
        }

        Limit(DataResource, bytes);

        // A core would be as large as its memory, and hold what it was given to read.
        Limit(CoreResource, 0);
    }

    /// <summary>How a program is called: by itself where it was published with its runtime, by <c>dotnet</c> otherwise.</summary>
    /// <param name="program">Its assembly.</param>
    public static string[] Command(string program) => HasRuntime(program) ? [Path.ChangeExtension(program, null)] : [Dotnet(Environment.ProcessPath), program];

    // The one executable of a published folder is this process's: the assembly of a service is a part of it. A build has a program for each, with the files that say what it needs.
    private static string[] Command(string? self, string service) => HasRuntime(service)
        ? [self ?? throw new InvalidOperationException("The path of this program is not known: no child of it can be started.")]
        : [Dotnet(self), "exec", "--runtimeconfig", Path.ChangeExtension(service, "runtimeconfig.json"), "--depsfile", Path.ChangeExtension(service, "deps.json"), service];

    private static bool HasRuntime(string program) => File.Exists(Path.Combine(Path.GetDirectoryName(program)!, "libcoreclr.so"));

    private static string Dotnet(string? self) => self is not null && Path.GetFileNameWithoutExtension(self) == "dotnet" ? self : "dotnet";

    private static void Limit(int resource, ulong most)
    {
        // Not above what this process itself may have.
        if (GetLimit(resource, out var limit) == 0)
        {
            limit.Hard = Math.Min(limit.Hard, most);
            limit.Soft = limit.Hard;
            if (SetLimit(resource, limit) == 0)
            {
                return;
            }
        }

        throw new InvalidOperationException($"The limit {resource} of this process cannot be set to {most}: {Marshal.GetLastPInvokeErrorMessage()}.");
    }

    [LibraryImport("libc", EntryPoint = "getrlimit", SetLastError = true)]
    private static partial int GetLimit(int resource, out ResourceLimit limit);

    [LibraryImport("libc", EntryPoint = "setrlimit", SetLastError = true)]
    private static partial int SetLimit(int resource, in ResourceLimit limit);

    [StructLayout(LayoutKind.Sequential)]
    private struct ResourceLimit
    {
        public ulong Soft;
        public ulong Hard;
    }
}
