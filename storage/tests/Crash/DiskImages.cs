using Yizhan.Simulation;

namespace Yizhan.Storage.Tests.Crash;

/// <summary>What a file system may do with what no flush covered.</summary>
internal enum DiskModel
{
    /// <summary>POSIX and no more: a name is durable when its folder was flushed, bytes when their file was; all else may be there or not, in any order.</summary>
    Strict,

    /// <summary>As ext4 has it: names are journalled in order for all folders at once, and a flush of a file takes the journal along when its own name or length is in it.</summary>
    Ordered,
}

/// <summary>Which of the operations that no flush covered are on the disk.</summary>
internal enum Kept
{
    Nothing,

    /// <summary>All up to some moment.</summary>
    Prefix,

    /// <summary>Names and lengths, but no bytes: they read as zeros.</summary>
    Names,

    /// <summary>Bytes, but no names.</summary>
    Bytes,

    /// <summary>Some, in any order, writes torn into sectors.</summary>
    Some,
}

/// <summary>The disks that may be found after the power went at a moment of a recording.</summary>
internal sealed class DiskImages
{
    private const int Sector = 512;

    private readonly List<DiskCall> _calls;
    private readonly string _root;
    private readonly int[] _durableStrict;
    private readonly int[] _durableOrdered;

    /// <param name="recording">What the process did.</param>
    /// <param name="root">Its folder.</param>
    /// <param name="without">Flushes that are taken for not made: whoever checks the images has to notice.</param>
    public DiskImages(DiskRecording recording, string root, Func<DiskCall, bool>? without = null)
    {
        _root = root;
        _calls = [.. recording.All.Where(call => without is null || !without(call)).OrderBy(call => call.End)];
        (_durableStrict, _durableOrdered) = (new int[_calls.Count], new int[_calls.Count]);
        Array.Fill(_durableStrict, int.MaxValue);
        Array.Fill(_durableOrdered, int.MaxValue);
        for (var i = 0; i < _calls.Count; i++)
        {
            if (_calls[i] is { IsFlush: true, End: < int.MaxValue } flush)
            {
                Flush(flush, i);
            }
        }
    }

    /// <summary>The moments at which something on the disk changes.</summary>
    public IEnumerable<int> Moments => _calls.Where(call => call.End < int.MaxValue).Select(call => call.Kind == DiskCallKind.Say ? call.Begin : call.End).Distinct();

    /// <summary>System calls that change a file or a name, and flushes.</summary>
    public (int Changes, int Flushes) Count => (_calls.Count(call => call.Kind != DiskCallKind.Say && !call.IsFlush), _calls.Count(call => call.IsFlush));

    /// <summary>What the process had printed by a moment.</summary>
    public IEnumerable<string> Said(int moment) => _calls.Where(call => call.Kind == DiskCallKind.Say && call.Begin <= moment).OrderBy(call => call.Begin).Select(call => call.Path);

    /// <summary>Writes an image into an empty folder.</summary>
    public void Write(string folder, int moment, DiskModel model, Kept kept, SeededRandom random)
    {
        var names = new Dictionary<string, int> { [_root] = 0 };
        var files = new Dictionary<int, ImageFile>();
        var prefix = random.Next(moment + 1);
        for (var i = 0; i < _calls.Count; i++)
        {
            var call = _calls[i];
            if (call.Begin > moment || call.Kind == DiskCallKind.Say || call.IsFlush)
            {
                continue;
            }

            var durable = (model == DiskModel.Strict ? _durableStrict : _durableOrdered)[i] <= moment;
            if (call.IsOfNames)
            {
                // In an ordered journal a later name is not there without an earlier one.
                if (durable || (model == DiskModel.Ordered && kept == Kept.Some ? call.End <= prefix : Chosen(call)))
                {
                    Name(names, call);
                }

                continue;
            }

            if (!files.TryGetValue(call.Inode, out var file))
            {
                files.Add(call.Inode, file = new ImageFile());
            }

            if (durable)
            {
                file.Apply(call);
            }
            else if (kept == Kept.Names)
            {
                file.Lengthen(call);
            }
            else if (Chosen(call))
            {
                file.Apply(kept == Kept.Some && random.Next(3) == 0 ? Torn(call, random) : call);
            }
        }

        Write(folder, names, files);

        bool Chosen(DiskCall call) => kept switch
        {
            Kept.Nothing => false,
            Kept.Prefix => call.End <= prefix,
            Kept.Names => call.IsOfNames,
            Kept.Bytes => !call.IsOfNames,
            _ => random.Next(2) == 0,
        };
    }

    private void Flush(DiskCall flush, int at)
    {
        bool Before(DiskCall call) => call.End < flush.Begin;

        var takesTheJournal = flush.Kind == DiskCallKind.FlushFolder;
        for (var i = 0; i < at; i++)
        {
            var call = _calls[i];
            if (!Before(call))
            {
                continue;
            }

            if (flush.Kind == DiskCallKind.FlushFile && call.Inode == flush.Inode && call.Kind is not (DiskCallKind.Say or DiskCallKind.FlushFile or DiskCallKind.FlushFolder))
            {
                takesTheJournal |= _durableOrdered[i] == int.MaxValue && call.Kind != DiskCallKind.Write;
                if (!call.IsOfNames)
                {
                    _durableStrict[i] = Math.Min(_durableStrict[i], flush.End);
                    _durableOrdered[i] = Math.Min(_durableOrdered[i], flush.End);
                }
            }
            else if (flush.Kind == DiskCallKind.FlushFolder && call.IsOfNames && Path.GetDirectoryName(call.Path) == flush.Path)
            {
                _durableStrict[i] = Math.Min(_durableStrict[i], flush.End);
            }
        }

        for (var i = 0; takesTheJournal && i < at; i++)
        {
            if (_calls[i].IsOfNames && Before(_calls[i]))
            {
                _durableOrdered[i] = Math.Min(_durableOrdered[i], flush.End);
            }
        }
    }

    private static void Name(Dictionary<string, int> names, DiskCall call)
    {
        if (call.Kind != DiskCallKind.Unname)
        {
            names[call.Path] = call.Inode;
        }
        else if (names.GetValueOrDefault(call.Path, -1) == call.Inode)
        {
            names.Remove(call.Path);
        }
    }

    private static DiskCall Torn(DiskCall call, SeededRandom random)
    {
        if (call.Kind != DiskCallKind.Write)
        {
            return call;
        }

        var from = random.Next((call.Bytes.Length / Sector) + 1) * Sector;
        var to = Math.Min(call.Bytes.Length, from + (random.Next((call.Bytes.Length / Sector) + 2) * Sector));
        return call with { Offset = call.Offset + from, Bytes = call.Bytes[from..to] };
    }

    private void Write(string folder, Dictionary<string, int> names, Dictionary<int, ImageFile> files)
    {
        var folders = _calls.Where(call => call.Kind == DiskCallKind.MakeFolder).Select(call => call.Inode).ToHashSet();
        foreach (var (path, inode) in names.Where(n => n.Value != 0).OrderBy(n => n.Key.Length))
        {
            var (at, parent) = (folder + path[_root.Length..], Path.GetDirectoryName(path)!);
            if (!names.ContainsKey(parent) || !Directory.Exists(Path.GetDirectoryName(at)))
            {
                // Its folder is not there.
                continue;
            }

            if (folders.Contains(inode))
            {
                Directory.CreateDirectory(at);
                continue;
            }

            using var file = new FileStream(at, FileMode.CreateNew, FileAccess.Write);
            if (!OperatingSystem.IsWindows())
            {
                // As the site key has to be.
                File.SetUnixFileMode(file.SafeFileHandle, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            }

            files.GetValueOrDefault(inode)?.WriteTo(file);
        }
    }

    /// <summary>Bytes of a file; what is behind the last write is zeros.</summary>
    private sealed class ImageFile
    {
        private byte[] _bytes = [];
        private int _written;
        private long _length;

        public void Apply(DiskCall call)
        {
            switch (call.Kind)
            {
                case DiskCallKind.Write:
                    var end = (int)call.Offset + call.Bytes.Length;
                    if (end > _bytes.Length)
                    {
                        Array.Resize(ref _bytes, Math.Max(end, _bytes.Length * 2));
                    }

                    call.Bytes.CopyTo(_bytes, call.Offset);
                    _written = Math.Max(_written, end);
                    _length = Math.Max(_length, end);
                    break;
                case DiskCallKind.Resize:
                    _length = call.Offset;
                    if (_written > _length)
                    {
                        _bytes.AsSpan((int)_length).Clear();
                        _written = (int)_length;
                    }

                    break;
                case DiskCallKind.Extend:
                    _length = Math.Max(_length, call.Offset);
                    break;
                case DiskCallKind.Zero when call.Offset < _written:
                    _bytes.AsSpan((int)call.Offset, (int)Math.Min(call.Length, _written - call.Offset)).Clear();
                    break;
            }
        }

        /// <summary>The length that a call makes, without its bytes.</summary>
        public void Lengthen(DiskCall call)
        {
            if (call.Kind == DiskCallKind.Write)
            {
                _length = Math.Max(_length, call.Offset + call.Bytes.Length);
            }
            else if (call.Kind is DiskCallKind.Resize or DiskCallKind.Extend)
            {
                Apply(call);
            }
        }

        public void WriteTo(FileStream file)
        {
            file.SetLength(_length);
            file.Write(_bytes.AsSpan(0, _written));
        }
    }
}
