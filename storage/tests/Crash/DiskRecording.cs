using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace Yizhan.Storage.Tests.Crash;

/// <summary>
/// Everything that a real process asked its disk to do, in order: its system calls as <c>strace</c> wrote them down, with the bytes of each write, and the
/// lines that it printed between them. A second process may be recorded after the first, on what it left.
/// </summary>
internal sealed class DiskRecording(string root)
{
    private const string Calls =
        "open,openat,creat,write,writev,pwrite64,pwritev,pwritev2,lseek,ftruncate,truncate,fallocate,fsync,fdatasync,rename,renameat,renameat2,"
        + "unlink,unlinkat,link,linkat,mkdir,mkdirat,rmdir,sendfile,copy_file_range";

    /// <summary>More than the largest write of a segment file.</summary>
    private const int MaxString = 2 * Record.MaxGroupPayload;

    private readonly Dictionary<string, int> _names = new() { [root] = 0 };
    private readonly Dictionary<int, long> _places = [];
    private int _inodes;
    private int _line;

    /// <summary>The calls, by their end.</summary>
    public List<DiskCall> All { get; } = [];

    /// <summary>Moments: lines of the recording so far.</summary>
    public int Moments => _line;

    /// <summary>Records one process until it has printed so many lines, and kills it then.</summary>
    public async Task RecordAsync(string program, IEnumerable<string> arguments, int stopAfterLines, CancellationToken cancellationToken)
    {
        var trace = Path.GetTempFileName();
        try
        {
            var start = new ProcessStartInfo("strace") { RedirectStandardOutput = true, RedirectStandardError = true };
            foreach (var argument in (string[])["-f", "--seccomp-bpf", "-y", "-xx", "-s", $"{MaxString}", "-e", $"trace={Calls}", "-o", trace, "--", program, .. arguments])
            {
                start.ArgumentList.Add(argument);
            }

            using var process = Process.Start(start)!;
            var error = process.StandardError.ReadToEndAsync(cancellationToken);
            var lines = 0;
            Process? child = null;
            while (await process.StandardOutput.ReadLineAsync(cancellationToken) is { } line)
            {
                child ??= Process.GetProcessById(int.Parse(line.Split(' ')[1], CultureInfo.InvariantCulture));
                if (++lines == stopAfterLines)
                {
                    child.Kill();
                }
            }

            await process.WaitForExitAsync(cancellationToken);
            child?.Dispose();
            Assert.True(process.ExitCode == 137, $"The recorded process ended with {process.ExitCode} by itself: {await error}");
            Read(trace);
        }
        finally
        {
            File.Delete(trace);
        }
    }

    private void Read(string trace)
    {
        var begun = new Dictionary<string, (int Line, string Text)>();
        foreach (var line in File.ReadLines(trace))
        {
            _line++;
            var space = line.IndexOf(' ', StringComparison.Ordinal);
            var (thread, text) = (line[..space], line[space..].TrimStart());
            if (text.StartsWith("+++", StringComparison.Ordinal) || text.StartsWith("---", StringComparison.Ordinal))
            {
                continue;
            }

            const string Unfinished = " <unfinished ...>";
            if (text.EndsWith(Unfinished, StringComparison.Ordinal))
            {
                begun[thread] = (_line, text[..^Unfinished.Length]);
                continue;
            }

            var from = _line;
            if (text.StartsWith("<... ", StringComparison.Ordinal))
            {
                (from, var first) = begun[thread];
                begun.Remove(thread);
                text = first + text[(text.IndexOf("resumed>", StringComparison.Ordinal) + "resumed>".Length)..];
            }

            Take(text, from, _line);
        }

        // What the kill interrupted may have had its effect, and nobody was told.
        foreach (var (line, text) in begun.Values)
        {
            Take(text + ") = ?", line, int.MaxValue);
        }
    }

    private void Take(string text, int begin, int end)
    {
        var open = text.IndexOf('(', StringComparison.Ordinal);
        var equals = text.LastIndexOf(" = ", StringComparison.Ordinal);
        var result = text[(equals + 3)..];
        if (result.StartsWith('-'))
        {
            return;
        }

        // Before the result come spaces, up to a column.
        var (name, a) = (text[..open], Split(text.AsSpan(open + 1, equals - open - 1).TrimEnd().TrimEnd(')')));
        switch (name)
        {
            case "openat" or "open" or "creat":
                Opened(name == "openat" ? a[1..] : a, result, begin, end);
                break;
            case "lseek":
                _places[Descriptor(a[0])] = Number(result);
                break;
            case "write" when FilePath(a[0]).StartsWith("pipe:", StringComparison.Ordinal):
                // Its output, which .NET writes to a copy of the descriptor 1.
                foreach (var said in Encoding.UTF8.GetString(Bytes(a[1])).Split('\n', StringSplitOptions.RemoveEmptyEntries))
                {
                    All.Add(new DiskCall(DiskCallKind.Say, begin, end, 0, said));
                }

                break;
            case "write" when Under(FilePath(a[0])):
                var place = _places.GetValueOrDefault(Descriptor(a[0]));
                Wrote(a[0], Bytes(a[1]), place, result, begin, end);
                _places[Descriptor(a[0])] = place + Number(result, int.MaxValue);
                break;
            case "pwrite64" when Under(FilePath(a[0])):
                Wrote(a[0], Bytes(a[1]), Number(a[3]), result, begin, end);
                break;
            case "pwritev" or "pwritev2" when Under(FilePath(a[0])):
                // [{iov_base="..", iov_len=n}, ..]
                var all = Split(a[1].AsSpan(1, a[1].Length - 2)).SelectMany(v => Bytes(Split(v.AsSpan(1, v.Length - 2))[0]["iov_base=".Length..])).ToArray();
                Wrote(a[0], all, Number(a[3]), result, begin, end);
                break;
            case "ftruncate" when Under(FilePath(a[0])):
                Add(new DiskCall(DiskCallKind.Resize, begin, end, Inode(FilePath(a[0])), FilePath(a[0])) { Offset = Number(a[1]) });
                break;
            case "fallocate" when Under(FilePath(a[0])):
                var punches = a[1] != "0";
                Add(new DiskCall(punches ? DiskCallKind.Zero : DiskCallKind.Extend, begin, end, Inode(FilePath(a[0])), FilePath(a[0]))
                {
                    Offset = punches ? Number(a[2]) : Number(a[2]) + Number(a[3]),
                    Length = Number(a[3]),
                });
                break;
            case "fsync" or "fdatasync" when Under(FilePath(a[0])):
                var folder = _names.GetValueOrDefault(FilePath(a[0]), -1) is var inode && (inode == 0 || All.Exists(c => c.Kind == DiskCallKind.MakeFolder && c.Inode == inode));
                All.Add(new DiskCall(folder ? DiskCallKind.FlushFolder : DiskCallKind.FlushFile, begin, end, inode, FilePath(a[0])));
                break;
            case "rename":
                Renamed(Text(a[0]), Text(a[1]), begin, end);
                break;
            case "renameat" or "renameat2":
                Renamed(Text(a[1]), Text(a[3]), begin, end);
                break;
            case "link" or "linkat" when Under(Text(a[name == "link" ? 1 : 3])):
                var (old, to) = name == "link" ? (Text(a[0]), Text(a[1])) : (Text(a[1]), Text(a[3]));
                _names[to] = _names[old];
                Add(new DiskCall(DiskCallKind.Name, begin, end, _names[to], to));
                break;
            case "unlink" or "unlinkat" or "rmdir" when Text(a[name == "unlinkat" ? 1 : 0]) is var gone && _names.Remove(gone, out var was):
                Add(new DiskCall(DiskCallKind.Unname, begin, end, was, gone));
                break;
            case "mkdir" or "mkdirat" when Text(a[name == "mkdir" ? 0 : 1]) is var made && Under(made):
                _names[made] = ++_inodes;
                Add(new DiskCall(DiskCallKind.MakeFolder, begin, end, _inodes, made));
                break;
            case "truncate" or "writev" or "sendfile" or "copy_file_range" when text.Contains(Hex(root), StringComparison.Ordinal):
                throw new NotSupportedException($"The recording has a call that is not understood: {text[..Math.Min(200, text.Length)]}");
        }
    }

    private void Opened(string[] a, string result, int begin, int end)
    {
        var path = Text(a[0]);
        if (result != "?")
        {
            _places[Descriptor(result)] = 0;
        }

        if (!Under(path))
        {
            return;
        }

        if (a[1].Contains("O_CREAT", StringComparison.Ordinal) && !_names.ContainsKey(path))
        {
            _names[path] = ++_inodes;
            Add(new DiskCall(DiskCallKind.Name, begin, end, _inodes, path));
        }
        else if (a[1].Contains("O_TRUNC", StringComparison.Ordinal))
        {
            Add(new DiskCall(DiskCallKind.Resize, begin, end, Inode(path), path));
        }
    }

    private void Wrote(string descriptor, byte[] bytes, long offset, string result, int begin, int end) =>
        Add(new DiskCall(DiskCallKind.Write, begin, end, Inode(FilePath(descriptor)), FilePath(descriptor))
        {
            Offset = offset,
            Bytes = bytes[..(int)Number(result, bytes.Length)],
        });

    private void Renamed(string from, string to, int begin, int end)
    {
        if (_names.Remove(from, out var inode))
        {
            _names[to] = inode;

            // A disk may keep the one without the other.
            Add(new DiskCall(DiskCallKind.Name, begin, end, inode, to));
            Add(new DiskCall(DiskCallKind.Unname, begin, end, inode, from));
        }
    }

    /// <summary>Calls come by their end; SQLite's memory that processes share is no part of what a power cut leaves.</summary>
    private void Add(DiskCall call)
    {
        if (!call.Path.EndsWith("-shm", StringComparison.Ordinal))
        {
            All.Add(call);
        }
    }

    private int Inode(string path) => _names.TryGetValue(path, out var inode) ? inode : throw new InvalidDataException($"{path} was written to and never made.");

    private bool Under(string path) => path == root || path.StartsWith(root + "/", StringComparison.Ordinal);

    private static int Descriptor(string argument) => (int)Number(argument.Split('<')[0]);

    private static string FilePath(string argument) =>
        argument.IndexOf('<', StringComparison.Ordinal) is > 0 and var at ? Encoding.UTF8.GetString(Unhex(argument.AsSpan(at + 1))) : "";

    private static string Text(string argument) => Encoding.UTF8.GetString(Bytes(argument));

    private static byte[] Bytes(string argument) => argument.StartsWith('"') && !argument.EndsWith("...", StringComparison.Ordinal)
        ? Unhex(argument.AsSpan(1))
        : throw new InvalidDataException($"A string was expected, whole: {argument[..Math.Min(100, argument.Length)]}");

    /// <summary>\x61\x62 until something else comes.</summary>
    private static byte[] Unhex(ReadOnlySpan<char> text)
    {
        var count = 0;
        while ((count * 4) + 3 < text.Length && text[count * 4] == '\\')
        {
            count++;
        }

        var bytes = new byte[count];
        for (var i = 0; i < count; i++)
        {
            bytes[i] = (byte)((HexDigit(text[(i * 4) + 2]) << 4) | HexDigit(text[(i * 4) + 3]));
        }

        return bytes;
    }

    private static int HexDigit(char digit) => digit <= '9' ? digit - '0' : digit - 'a' + 10;

    private static string Hex(string text) => string.Concat(Encoding.UTF8.GetBytes(text).Select(b => $"\\x{b:x2}"));

    private static long Number(string text, long unknown = 0)
    {
        var digits = text.AsSpan();
        var length = 0;
        while (length < digits.Length && char.IsAsciiDigit(digits[length]))
        {
            length++;
        }

        return length == 0 ? unknown : long.Parse(digits[..length], CultureInfo.InvariantCulture);
    }

    /// <summary>Splits at the commas that are in no bracket and no string.</summary>
    private static string[] Split(ReadOnlySpan<char> text)
    {
        var parts = new List<string>();
        var (depth, from, quoted) = (0, 0, false);
        for (var i = 0; i < text.Length; i++)
        {
            switch (text[i])
            {
                case '"':
                    quoted = !quoted;
                    break;
                case '[' or '{' or '<' when !quoted:
                    depth++;
                    break;
                case ']' or '}' or '>' when !quoted:
                    depth--;
                    break;
                case ',' when !quoted && depth == 0:
                    parts.Add(text[from..i].Trim().ToString());
                    from = i + 1;
                    break;
            }
        }

        parts.Add(text[from..].Trim().ToString());
        return [.. parts];
    }
}

/// <summary>What a system call does to a disk.</summary>
internal enum DiskCallKind
{
    /// <summary>A line that the process printed.</summary>
    Say,
    MakeFolder,

    /// <summary>A file has this name from now on: it was made, linked or renamed.</summary>
    Name,
    Unname,
    Write,

    /// <summary>The file has this length from now on.</summary>
    Resize,

    /// <summary>The file has at least this length from now on.</summary>
    Extend,

    /// <summary>A hole.</summary>
    Zero,
    FlushFile,
    FlushFolder,
}

/// <summary>A system call: it took effect at some moment from <paramref name="Begin"/> to <paramref name="End"/>.</summary>
internal sealed record DiskCall(DiskCallKind Kind, int Begin, int End, int Inode, string Path)
{
    public long Offset { get; init; }

    public long Length { get; init; }

    public byte[] Bytes { get; init; } = [];

    /// <summary>True for what changes names, false for what changes a file.</summary>
    public bool IsOfNames => Kind is DiskCallKind.MakeFolder or DiskCallKind.Name or DiskCallKind.Unname;

    public bool IsFlush => Kind is DiskCallKind.FlushFile or DiskCallKind.FlushFolder;
}
