using System.Diagnostics;

namespace Yizhan.Storage.Tests.Crash;

/// <summary>A named place in the program at which the process kills itself (SIGKILL) when it passes there for the n-th time.</summary>
internal sealed class KillPoint(string name, int count)
{
    public static readonly string[] Names =
    [
        "before-write", "torn-write", "after-write", "before-flush", "after-flush", "after-preallocate", "before-flush-directory", "after-flush-directory",
        "after-punch", "after-delete", "before-commit", "after-commit",
    ];

    /// <summary>Not a place to die at: files are never flushed, so that a power cut has to take something.</summary>
    public const string NeverFlush = "never-flush";

    private int _left = count;

    public bool Flushes { get; } = name != NeverFlush;

    public bool IsNow(string place) => place == name && Interlocked.Decrement(ref _left) == 0;

    public void Pass(string place)
    {
        if (IsNow(place))
        {
            Kill();
        }
    }

    public static void Kill()
    {
        Process.GetCurrentProcess().Kill();
        Thread.Sleep(Timeout.Infinite);
    }
}

/// <summary>The real disk with kill points.</summary>
internal sealed class KillingDisk(IDisk disk, KillPoint point) : IDisk
{
    public IDiskFile Open(string path, bool create) => new KillingFile(disk.Open(path, create), point);

    public void WillRead(string path) => disk.WillRead(path);

    public IReadOnlyList<string> List(string folder) => disk.List(folder);

    public void Rename(string from, string to) => disk.Rename(from, to);

    public void Delete(string path)
    {
        disk.Delete(path);
        point.Pass("after-delete");
    }

    public void FlushDirectory(string folder)
    {
        point.Pass("before-flush-directory");
        disk.FlushDirectory(folder);
        point.Pass("after-flush-directory");
    }

    public long FreeBytes(string folder) => disk.FreeBytes(folder);

    private sealed class KillingFile(IDiskFile file, KillPoint point) : IDiskFile
    {
        public long Length => file.Length;

        public void Write(ReadOnlySpan<byte> bytes, long offset)
        {
            point.Pass("before-write");
            if (point.IsNow("torn-write"))
            {
                file.Write(bytes[..(bytes.Length / 2)], offset);
                KillPoint.Kill();
            }

            file.Write(bytes, offset);
            point.Pass("after-write");
        }

        public int Read(Span<byte> buffer, long offset) => file.Read(buffer, offset);

        public void FlushData()
        {
            point.Pass("before-flush");
            if (point.Flushes)
            {
                file.FlushData();
            }

            point.Pass("after-flush");
        }

        public void Preallocate(long length)
        {
            file.Preallocate(length);
            point.Pass("after-preallocate");
        }

        public void StartWriteBack(long offset, long length) => file.StartWriteBack(offset, length);

        public void PunchHole(long offset, long length)
        {
            file.PunchHole(offset, length);
            point.Pass("after-punch");
        }

        public void Dispose() => file.Dispose();
    }
}

/// <summary>A journal with kill points around its commit.</summary>
internal sealed class KillingJournal(Journal journal, KillPoint point) : Journal
{
    public override LogState State => journal.State;

    public override long EntryBytes => journal.EntryBytes;

    public override void Commit(Group group)
    {
        point.Pass("before-commit");
        journal.Commit(group);
        point.Pass("after-commit");
    }

    public override (EntryIdentity Identity, long Position)? FindFact(FactKey fact) => journal.FindFact(fact);

    public override (long LaneBytes, long TimeMs)? FindOwn(Lane lane, long sequence) => journal.FindOwn(lane, sequence);

    public override StoredBlob? FindBlob(ContentHash hash) => journal.FindBlob(hash);

    public override IReadOnlyList<BlobRef> Blobs(ContentHash? after, int max) => journal.Blobs(after, max);

    public override KeyUse UseOf(IReadOnlyCollection<ulong> keys) => journal.UseOf(keys);

    public override IReadOnlyList<LoggedEntry> Read(long afterPosition, int maxEntries) => journal.Read(afterPosition, maxEntries);

    public override IReadOnlyList<LoggedEntry> ReadLane(Lane lane, long afterSequence, int maxEntries, long maxDataBytes) =>
        journal.ReadLane(lane, afterSequence, maxEntries, maxDataBytes);

    public override void Dispose() => journal.Dispose();
}
