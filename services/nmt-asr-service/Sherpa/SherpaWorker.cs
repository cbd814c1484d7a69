using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Yizhan.Platform;

namespace Yizhan.NmtAsr.Sherpa;

/// <summary>
/// The other side of <see cref="SherpaProcess"/>: one pack in a process with sherpa-onnx, for all its streams, one after the other. Requests come on standard input: an operation (1 byte), a stream (int32), a
/// length (int32), and so many bytes; each is answered with a length and so many bytes. All numbers are little-endian; sound is 16 bits, mono.
/// </summary>
public static partial class SherpaWorker
{
    /// <summary>What this program is called with to be one.</summary>
    public const string Verb = "sherpa-worker";

    /// <summary>Most bytes of one request or answer.</summary>
    internal const int MaxBytes = 8 * 1024 * 1024;

    /// <summary>A stream begins anew; with its hot words (UTF-8, '/' between) when the model takes any.</summary>
    internal const byte Begin = (byte)'b';

    /// <summary>Sound for a stream.</summary>
    internal const byte Accept = (byte)'a';

    /// <summary>What it sounds like so far, as sherpa-onnx's JSON.</summary>
    internal const byte Partial = (byte)'p';

    /// <summary>The same when it has ended.</summary>
    internal const byte End = (byte)'e';

    /// <summary>Forgets a stream.</summary>
    internal const byte Close = (byte)'c';

    /// <summary>Serves until standard input ends. Arguments: folder of the library, family, folder of the model, samples a second, language ("-" for none), threads, what tokens are ("-" when no hot words are taken).</summary>
    /// <returns>0; 65 (EX_DATAERR) when library or model are not as they have to be, with the reason on standard error.</returns>
    public static int Run(string[] arguments)
    {
        ChildProgram.Confine();
        if (arguments is not [var library, var name, var models, var rate, var language, var threads, var unit] || SherpaModel.All.FirstOrDefault(m => m.Name == name) is not { } family)
        {
            Console.Error.WriteLine($"Usage: {Verb} LIBRARY FAMILY MODELS RATE LANGUAGE THREADS UNIT (started by the service itself).");
            return 64;
        }

        // Answers go where standard output went; what the library prints there goes to standard error from now on, or it would stand among them.
        using var input = Console.OpenStandardInput();
        using var output = new FileStream(new SafeFileHandle(Duplicate(1), ownsHandle: true), FileAccess.Write);
        _ = Duplicate(2, 1);
        try
        {
            SherpaApi.Use(library);
            if (Marshal.PtrToStringUTF8(SherpaApi.GetVersion()) is var version && version != SherpaApi.Version)
            {
                throw new InvalidDataException($"sherpa-onnx is {version}; accepted: {SherpaApi.Version}.");
            }

            using var engine = SherpaEngine.Load(family, models, int.Parse(rate, CultureInfo.InvariantCulture), language == "-" ? "" : language, int.Parse(threads, CultureInfo.InvariantCulture), unit == "-" ? "" : unit);
            Answer(output, Encoding.UTF8.GetBytes(version!));
            var head = new byte[9];
            while (input.ReadAtLeast(head, head.Length, throwOnEndOfStream: false) == head.Length)
            {
                var payload = new byte[BinaryPrimitives.ReadInt32LittleEndian(head.AsSpan(5)) is >= 0 and <= MaxBytes and var length ? length : throw new InvalidDataException("A request is too long.")];
                input.ReadExactly(payload);
                Answer(output, engine.Do(head[0], BinaryPrimitives.ReadInt32LittleEndian(head.AsSpan(1)), payload));
            }

            return 0;
        }
        catch (Exception e) when (e is InvalidDataException or DllNotFoundException or BadImageFormatException or EntryPointNotFoundException or IOException or FormatException)
        {
            Console.Error.WriteLine(e.Message);
            return 65;
        }
    }

    private static void Answer(Stream output, byte[] bytes)
    {
        var length = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(length, bytes.Length);
        output.Write(length);
        output.Write(bytes);
        output.Flush();
    }

    [LibraryImport("libc", EntryPoint = "dup")]
    private static partial int Duplicate(int descriptor);

    [LibraryImport("libc", EntryPoint = "dup2")]
    private static partial int Duplicate(int descriptor, int to);
}
