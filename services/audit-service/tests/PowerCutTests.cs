using System.Text;
using Yizhan.Audit.Notes;
using Yizhan.Audit.Tree;
using Yizhan.Transparency;

namespace Yizhan.Audit.Tests;

/// <summary>Stops the writer at every step, and draws at every step what a power cut could leave on the disk.</summary>
public sealed class PowerCutTests : IDisposable
{
    private static readonly int[] Batches = [1, 2, 252, 1, 1, 300, 3];
    private static readonly bool[] NamesEager = [false, true];

    private readonly NoteSigner _signer = NoteSigner.Create("yizhan/audit/s1");

    public void Dispose() => _signer.Dispose();

    [Fact]
    public void A_kill_at_any_step_neither_loses_nor_forks()
    {
        var steps = 0;
        for (var kill = 1; ; kill++)
        {
            using var folder = new TemporaryFolder();
            var published = new List<byte[]>();
            var step = 0;
            try
            {
                Run(new DurableFolder(folder.Path, (_, _) => Stop(ref step, kill)), published);
                break;
            }
            catch (KilledException)
            {
                steps++;
                ContinueAndCheck(folder.Path, published, $"killed at step {kill}");
            }
        }

        Assert.True(steps > 100, $"{steps} steps");
    }

    [Fact]
    public void A_power_cut_at_any_step_neither_loses_nor_forks()
    {
        using var folder = new TemporaryFolder();
        var published = new List<byte[]>();
        var disk = new DiskModel(folder.Path);
        var steps = 0;
        var durable = new DurableFolder(folder.Path, (step, path) =>
        {
            disk.After(step, path);
            foreach (var eager in NamesEager)
            {
                using var left = new TemporaryFolder();
                disk.Restore(left.Path, eager);
                ContinueAndCheck(left.Path, published, $"step {steps}, {step} {path}, names {(eager ? "eager" : "late")}");
            }

            steps++;
        });
        Run(durable, published);
        Assert.True(steps > 100, $"{steps} steps");
    }

    /// <summary>Commits across the ends of tiles of two levels; notes what was published.</summary>
    private void Run(DurableFolder folder, List<byte[]> published)
    {
        using var log = TreeLog.Open(folder, _signer, 0);
        published.Add(log.Current.Note);
        var size = 0;
        foreach (var count in Batches)
        {
            var (leaves, payloads) = Leaves(size, count);
            log.Append(leaves, payloads);
            size += count;
            published.Add(log.Current.Note);
        }
    }

    /// <summary>Opens what was left and appends something else, so that a fork would show against what had been published.</summary>
    private void ContinueAndCheck(string folder, List<byte[]> published, string when)
    {
        try
        {
            var size = published.Count == 0 ? 0 : SizeOf(published[^1]);
            using (var log = TreeLog.Open(new DurableFolder(folder), _signer, size))
            {
                var (leaves, payloads) = Leaves((int)log.Current.Checkpoint.Size, 5);
                log.Append(leaves, payloads);
                Assert.True(log.Current.Checkpoint.Size >= size + 5, when);
            }

            var older = published.Select(p => (ReadOnlyMemory<byte>)p).ToArray();
            var result = LogVerifier.Verify(new LogFolder(folder), new LogTrust(_signer.PublicKey) { Older = older }, null, TestContext.Current.CancellationToken);
            Assert.True(result.Ok, $"{when}: {result.Problem}");
            Assert.DoesNotContain(result.Remarks, r => r.Contains("interrupted", StringComparison.Ordinal) && !r.Contains(".tmp", StringComparison.Ordinal));
        }
        catch (InvalidDataException e)
        {
            Assert.Fail($"{when}: {e.Message}");
        }
    }

    /// <summary>Leaves with sealed bytes of different lengths; what is appended after a cut is different from what was lost.</summary>
    private static (ReadOnlyMemory<byte>[] Leaves, byte[][] Payloads) Leaves(int first, int count)
    {
        var payloads = Enumerable.Range(first, count).Select(i => Encoding.UTF8.GetBytes($"{i} {Guid.CreateVersion7():N}")).ToArray();
        return ([.. payloads.Select((p, i) => (ReadOnlyMemory<byte>)new AuditLeaf(
            "record", TreeHash.Of([]), i, TreeHash.Of(p), p.Length, new AuditSource("s1", Guid.Empty, 1, first + i, first + i + 1)).ToBytes())], payloads);
    }

    private long SizeOf(byte[] note) => Checkpoint.TryOpen(note, _signer.PublicKey, out var checkpoint) ? checkpoint.Size : throw new InvalidDataException();

    private static void Stop(ref int step, int kill)
    {
        if (++step == kill)
        {
            throw new KilledException();
        }
    }

    private sealed class KilledException : Exception;

    /// <summary>
    /// What is on the disk for certain: a file's bytes once they were flushed, a name once its folder was. Names may also arrive
    /// earlier than they must; bytes that were not flushed are then missing.
    /// </summary>
    private sealed class DiskModel(string root)
    {
        private readonly Dictionary<string, byte[]> _flushedAside = [];
        private readonly Dictionary<string, byte[]> _flushed = [];
        private readonly Dictionary<string, byte[]> _durable = [];
        private readonly HashSet<string> _durableFolders = [Path.GetFullPath(root)];

        public void After(FileStep step, string path)
        {
            switch (step)
            {
                case FileStep.Written:
                    _flushedAside.Remove(path);
                    break;
                case FileStep.Synced:
                    _flushedAside[path] = File.ReadAllBytes(Path.Combine(root, path + LogVerifier.Temporary));
                    break;
                case FileStep.Renamed:
                    _flushed[path] = _flushedAside.GetValueOrDefault(path, []);
                    break;
                case FileStep.Appended:
                    _flushed[path] = File.ReadAllBytes(Path.Combine(root, path));
                    if (_durable.ContainsKey(path))
                    {
                        _durable[path] = _flushed[path];
                    }

                    break;
                case FileStep.FolderSynced:
                    var folder = Path.GetFullPath(Path.Combine(root, path));
                    _durableFolders.UnionWith(Directory.GetDirectories(folder));
                    foreach (var gone in _durable.Keys.Where(k => FolderOf(k) == folder && !File.Exists(Path.Combine(root, k))).ToList())
                    {
                        _durable.Remove(gone);
                    }

                    foreach (var name in NamesNow().Where(k => FolderOf(k) == folder))
                    {
                        _durable[name] = _flushed.GetValueOrDefault(name, []);
                    }

                    break;
            }
        }

        public void Restore(string to, bool eagerNames)
        {
            var files = eagerNames
                ? NamesNow().ToDictionary(name => name, name => _flushed.GetValueOrDefault(name, []))
                : _durable.Where(f => IsReachable(FolderOf(f.Key))).ToDictionary();
            foreach (var (name, bytes) in files)
            {
                var target = Path.Combine(to, name);
                Directory.CreateDirectory(Path.GetDirectoryName(target)!);
                File.WriteAllBytes(target, bytes);
            }
        }

        private bool IsReachable(string folder) =>
            _durableFolders.Contains(folder) && (folder == Path.GetFullPath(root) || IsReachable(Path.GetDirectoryName(folder)!));

        private IEnumerable<string> NamesNow() =>
            Directory.GetFiles(root, "*", SearchOption.AllDirectories)
                .Where(f => !f.EndsWith(LogVerifier.Temporary, StringComparison.Ordinal))
                .Select(f => Path.GetRelativePath(root, f));

        private string FolderOf(string name) => Path.GetDirectoryName(Path.GetFullPath(Path.Combine(root, name)))!;
    }
}
