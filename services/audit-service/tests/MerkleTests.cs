using System.Text;
using System.Text.Json;
using CsCheck;
using Yizhan.Transparency;

namespace Yizhan.Audit.Tests;

public sealed class MerkleTests
{
    [Fact]
    public void The_roots_of_the_known_eight_leaf_tree_are_right()
    {
        // The leaves and the root that the Certificate Transparency implementations share.
        string[] leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        var hashes = leaves.Select(l => Merkle.LeafHash(Convert.FromHexString(l))).ToArray();
        Assert.Equal("XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=", Convert.ToBase64String(Merkle.RootOf(hashes).ToArray()));
        Assert.Equal("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", Convert.ToBase64String(Merkle.EmptyRoot.ToArray()));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(2047)]
    [InlineData(2048)]
    [InlineData(65535)]
    public void A_leaf_of_any_length_is_hashed_as_the_definition_says(int length)
    {
        var data = Enumerable.Range(0, length).Select(i => (byte)i).ToArray();
        Assert.Equal(TreeHash.Of([0, .. data]), Merkle.LeafHash(data));
    }

    [Theory]
    [InlineData("inclusion", 52)]
    [InlineData("consistency", 50)]
    [InlineData("subtreeinclusion", 102)]
    [InlineData("subtreeconsistency", 61)]
    public void Every_given_proof_is_accepted_or_refused_as_expected(string kind, int atLeast)
    {
        var files = Directory.GetFiles(Path.Combine(Corpus.Folder("merkle-rfc6962"), kind), "*.json", SearchOption.AllDirectories);
        Assert.True(files.Length >= atLeast, $"{files.Length} files.");
        foreach (var file in files)
        {
            using var json = JsonDocument.Parse(File.ReadAllBytes(file));
            var v = json.RootElement;
            Assert.True(Holds(kind, v) != v.GetProperty("wantErr").GetBoolean(), file);
        }
    }

    [Fact]
    public void Every_proof_of_the_given_large_log_holds_and_is_what_we_would_make()
    {
        var folder = Corpus.Folder("tlog-large");
        var proofs = new TreeReader(folder).Proofs(600);
        using var json = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "proofs.json")));
        foreach (var p in json.RootElement.GetProperty("inclusion").EnumerateArray())
        {
            var (index, size) = (p.GetProperty("index").GetInt64(), p.GetProperty("size").GetInt64());
            Assert.True(Merkle.IsIncluded(Hash(p, "leaf"), index, size, Proof(p), Hash(p, "root")));
            Assert.Equal(Proof(p), proofs.Inclusion(index, size));
            Assert.Equal(Hash(p, "root"), proofs.Root(size));
        }

        foreach (var p in json.RootElement.GetProperty("consistency").EnumerateArray())
        {
            var (old, size) = (p.GetProperty("old").GetInt64(), p.GetProperty("new").GetInt64());
            Assert.True(Merkle.IsConsistent(old, size, Hash(p, "oldRoot"), Hash(p, "newRoot"), Proof(p)));
            Assert.Equal(Proof(p), proofs.Consistency(old, size));
        }
    }

    [Fact]
    public void Roots_and_proofs_of_every_small_tree_agree_with_the_definition()
    {
        var data = Enumerable.Range(0, 70).Select(i => Encoding.UTF8.GetBytes($"leaf {i}")).ToArray();
        var leaves = data.Select(d => Merkle.LeafHash(d)).ToArray();
        var proofs = new MerkleProofs((level, index) => Naive(data.AsSpan((int)(index << level), 1 << level)));
        for (var size = 1; size <= data.Length; size++)
        {
            var root = Naive(data.AsSpan(0, size));
            Assert.Equal(root, Merkle.RootOf(leaves.AsSpan(0, size)));
            Assert.Equal(root, proofs.Root(size));
            for (var i = 0; i < size; i++)
            {
                Assert.True(Merkle.IsIncluded(leaves[i], i, size, proofs.Inclusion(i, size), root));
                Assert.Equal(NaivePath(i, data.AsSpan(0, size)), proofs.Inclusion(i, size));
                Assert.True(Merkle.IsConsistent(i + 1, size, Naive(data.AsSpan(0, i + 1)), root, proofs.Consistency(i + 1, size)));
            }
        }
    }

    [Fact]
    public void A_proof_proves_nothing_else() =>
        Gen.Select(Gen.Long[1, 400], Gen.Long[0, 399], Gen.Int[0, 1000], Gen.Int[0, 255]).Sample(t =>
        {
            var (size, index, where, bit) = (t.Item1, t.Item2 % t.Item1, t.Item3, t.Item4);
            var data = Enumerable.Range(0, (int)size).Select(i => Encoding.UTF8.GetBytes($"{i}")).ToArray();
            var leaf = Merkle.LeafHash(data[index]);
            var proofs = new MerkleProofs((level, i) => Naive(data.AsSpan((int)(i << level), 1 << level)));
            var (root, proof) = (proofs.Root(size), proofs.Inclusion(index, size));
            Assert.True(Merkle.IsIncluded(leaf, index, size, proof, root));
            Assert.False(Merkle.IsIncluded(leaf, index, size, [.. proof, root], root));
            Assert.False(Merkle.IsIncluded(leaf, (index + 1) % size, size, proof, root) && size > 1);
            Assert.False(Merkle.IsIncluded(Flip(leaf, bit), index, size, proof, root));
            var old = 1 + (where % size);
            var consistency = proofs.Consistency(old, size);
            Assert.True(Merkle.IsConsistent(old, size, proofs.Root(old), root, consistency));
            Assert.False(Merkle.IsConsistent(old, size, Flip(proofs.Root(old), bit), root, consistency));
            Assert.False(Merkle.IsConsistent(old, size, proofs.Root(old), Flip(root, bit), consistency));
            if (proof.Length > 0)
            {
                var broken = proof.ToArray();
                broken[where % broken.Length] = Flip(broken[where % broken.Length], bit);
                Assert.False(Merkle.IsIncluded(leaf, index, size, broken, root));
                Assert.False(Merkle.IsIncluded(leaf, index, size, proof.AsSpan(1), root));
            }
        }, iter: 300);

    [Theory]
    [InlineData("tile/0/000", 0, 0, 256)]
    [InlineData("tile/entries/x001/x234/067", -1, 1234067, 256)]
    [InlineData("tile/1/000.p/2", 1, 0, 2)]
    public void A_tile_path_reads_and_writes_as_the_layout_says(string path, int level, long number, int width)
    {
        Assert.True(TileAddress.TryParse(path, out var tile));
        Assert.Equal(new TileAddress(level, number, width), tile);
        Assert.Equal(path, tile.ToString());
    }

    [Theory]
    [InlineData("tile/0/00")]
    [InlineData("tile/0/0000")]
    [InlineData("tile/0/x000/000")]
    [InlineData("tile/0/001/000")]
    [InlineData("tile/8/000")]
    [InlineData("tile/-1/000")]
    [InlineData("tile/00/000")]
    [InlineData("tile/0/000.p/0")]
    [InlineData("tile/0/000.p/256")]
    [InlineData("tile/0/000.p/01")]
    [InlineData("tile/0/000.p")]
    [InlineData("tile/0/../checkpoint")]
    [InlineData("tile/entries/xx01/000")]
    [InlineData("tile")]
    [InlineData("")]
    public void Another_spelling_of_a_tile_path_is_refused(string path) => Assert.False(TileAddress.TryParse(path, out _));

    private static bool Holds(string kind, JsonElement v)
    {
        long Number(string name) => (long)v.GetProperty(name).GetUInt64();
        if (!TryHashes(v, out var proof))
        {
            return false;
        }

        switch (kind)
        {
            case "inclusion":
                return TryHash(v, "leafHash", out var leaf) && TryHash(v, "root", out var root)
                    && Merkle.IsIncluded(leaf, Number("leafIdx"), Number("treeSize"), proof, root);
            case "subtreeinclusion":
                return TryHash(v, "leafHash", out leaf) && TryHash(v, "root", out root)
                    && Merkle.IsValidSubtree(Number("start"), Number("end"))
                    && Merkle.IsIncluded(leaf, Number("leafIdx") - Number("start"), Number("end") - Number("start"), proof, root);
            case "consistency":
                return TryHash(v, "root1", out var root1) && TryHash(v, "root2", out var root2)
                    && Merkle.IsConsistent(Number("size1"), Number("size2"), root1, root2, proof);
            default:
                return TryHash(v, "root1", out root1) && TryHash(v, "root2", out root2)
                    && Merkle.IsSubtree(Number("start"), Number("end"), Number("size"), root1, root2, proof);
        }
    }

    private static bool TryHash(JsonElement v, string name, out TreeHash hash) => TryHash(v.GetProperty(name), out hash);

    /// <summary>A hash in our code has 32 bytes by its type; the vectors have shorter and longer ones, which must not pass.</summary>
    private static bool TryHash(JsonElement v, out TreeHash hash)
    {
        var bytes = v.ValueKind == JsonValueKind.String ? v.GetBytesFromBase64() : [];

        // Some vectors use a short text where any hash will do.
        var text = Encoding.ASCII.GetString(bytes);
        hash = bytes.Length == TreeHash.Size ? new TreeHash(bytes)
            : text.StartsWith("don't care", StringComparison.Ordinal) ? TreeHash.Of(bytes) : default;
        return hash != default;
    }

    private static bool TryHashes(JsonElement v, out TreeHash[] hashes)
    {
        var parsed = v.GetProperty("proof") is { ValueKind: JsonValueKind.Array } array
            ? array.EnumerateArray().Select(e => (Ok: TryHash(e, out var hash), hash)).ToArray()
            : [];
        hashes = [.. parsed.Select(p => p.hash)];
        return parsed.All(p => p.Ok);
    }

    private static TreeHash Hash(JsonElement v, string name) => new(v.GetProperty(name).GetBytesFromBase64());

    private static TreeHash[] Proof(JsonElement v) => [.. v.GetProperty("proof").EnumerateArray().Select(e => new TreeHash(e.GetBytesFromBase64()))];

    private static TreeHash Flip(TreeHash hash, int bit)
    {
        var bytes = hash.ToArray();
        bytes[bit / 8] ^= (byte)(1 << (bit % 8));
        return new TreeHash(bytes);
    }

    /// <summary>MTH of RFC 6962 §2.1, word for word, with .NET's SHA-256 and nothing of ours.</summary>
    internal static TreeHash Naive(ReadOnlySpan<byte[]> data)
    {
        switch (data.Length)
        {
            case 0:
                return TreeHash.Of([]);
            case 1:
                return TreeHash.Of([0, .. data[0]]);
            default:
                var k = 1;
                while (2 * k < data.Length)
                {
                    k *= 2;
                }

                return TreeHash.Of([1, .. Naive(data[..k]).ToArray(), .. Naive(data[k..]).ToArray()]);
        }
    }

    /// <summary>PATH of RFC 6962 §2.1.1.</summary>
    private static List<TreeHash> NaivePath(int m, ReadOnlySpan<byte[]> data)
    {
        if (data.Length == 1)
        {
            return [];
        }

        var k = 1;
        while (2 * k < data.Length)
        {
            k *= 2;
        }

        return m < k ? [.. NaivePath(m, data[..k]), Naive(data[k..])] : [.. NaivePath(m - k, data[k..]), Naive(data[..k])];
    }
}
