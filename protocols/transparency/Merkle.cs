using System.Numerics;
using System.Security.Cryptography;

namespace Yizhan.Transparency;

/// <summary>The hashes of RFC 6962 §2.1 and the checks of its proofs. Pure.</summary>
public static class Merkle
{
    // Different first bytes keep a node from passing for a leaf whose data is two hashes (second preimage).
    private const byte LeafPrefix = 0x00;
    private const byte NodePrefix = 0x01;

    /// <summary>Root of the tree without leaves: SHA-256 of nothing.</summary>
    public static TreeHash EmptyRoot { get; } = TreeHash.Of([]);

    /// <summary>SHA-256(0x00 ‖ data).</summary>
    public static TreeHash LeafHash(ReadOnlySpan<byte> data)
    {
        Span<byte> hash = stackalloc byte[TreeHash.Size];
        if (data.Length < 2048)
        {
            Span<byte> input = stackalloc byte[1 + data.Length];
            input[0] = LeafPrefix;
            data.CopyTo(input[1..]);
            SHA256.HashData(input, hash);
        }
        else
        {
            using var sha = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            sha.AppendData([LeafPrefix]);
            sha.AppendData(data);
            sha.GetHashAndReset(hash);
        }

        return new TreeHash(hash);
    }

    /// <summary>SHA-256(0x01 ‖ left ‖ right).</summary>
    public static TreeHash NodeHash(TreeHash left, TreeHash right)
    {
        Span<byte> input = stackalloc byte[1 + (2 * TreeHash.Size)];
        input[0] = NodePrefix;
        left.CopyTo(input[1..]);
        right.CopyTo(input[(1 + TreeHash.Size)..]);
        return TreeHash.Of(input);
    }

    /// <summary>Root of a subtree whose nodes of one level are given, from the left. MTH of RFC 6962 §2.1, one level up at a time.</summary>
    /// <param name="nodes">At least one. The last may be the root of a smaller, ragged subtree.</param>
    public static TreeHash RootOf(ReadOnlySpan<TreeHash> nodes)
    {
        var row = nodes.ToArray().AsSpan();
        while (row.Length > 1)
        {
            for (var i = 0; i < row.Length / 2; i++)
            {
                row[i] = NodeHash(row[2 * i], row[(2 * i) + 1]);
            }

            // A node without a neighbour rises as it is: the split is at the largest power of two, so the ragged end is on the right.
            if (row.Length % 2 == 1)
            {
                row[row.Length / 2] = row[^1];
            }

            row = row[..((row.Length + 1) / 2)];
        }

        return row[0];
    }

    /// <summary>True when <paramref name="leaf"/> is at <paramref name="index"/> of the tree with this size and root (RFC 9162 §2.1.3.2).</summary>
    public static bool IsIncluded(TreeHash leaf, long index, long size, ReadOnlySpan<TreeHash> proof, TreeHash root)
    {
        if (index < 0 || index >= size)
        {
            return false;
        }

        var (node, last, hash) = (index, size - 1, leaf);
        foreach (var sibling in proof)
        {
            if (last == 0)
            {
                return false;
            }

            if ((node & 1) == 1 || node == last)
            {
                hash = NodeHash(sibling, hash);
                var levels = BitOperations.TrailingZeroCount(node);
                (node, last) = (node >> levels, last >> levels);
            }
            else
            {
                hash = NodeHash(hash, sibling);
            }

            (node, last) = (node >> 1, last >> 1);
        }

        return last == 0 && hash == root;
    }

    /// <summary>True when the tree of <paramref name="newSize"/> begins with the tree of <paramref name="oldSize"/> (RFC 9162 §2.1.4.2).</summary>
    /// <remarks>For two trees of one size the proof is empty. An empty old tree says nothing about the new one: false.</remarks>
    public static bool IsConsistent(
        long oldSize, long newSize, TreeHash oldRoot, TreeHash newRoot, ReadOnlySpan<TreeHash> proof) =>
        oldSize > 0 && IsSubtree(0, oldSize, newSize, oldRoot, newRoot, proof);

    /// <summary>
    /// True when the leaves from <paramref name="start"/> to before <paramref name="end"/>, a subtree with root <paramref name="subtreeRoot"/>, are part
    /// of the tree with this size and root (draft-ietf-plants-merkle-tree-certs §4.4). Start 0 is the consistency of RFC 9162.
    /// </summary>
    public static bool IsSubtree(
        long start, long end, long size, TreeHash subtreeRoot, TreeHash root, ReadOnlySpan<TreeHash> proof)
    {
        if (start == end && start >= 0 && end <= size)
        {
            return proof.IsEmpty && subtreeRoot == EmptyRoot;
        }

        if (!IsValidSubtree(start, end) || end > size)
        {
            return false;
        }

        var (first, last, top) = (start, end - 1, size - 1);
        while (first != last && (last == top || (last & 1) == 1))
        {
            (first, last, top) = (first >> 1, last >> 1, top >> 1);
        }

        var known = subtreeRoot;
        if (first != last)
        {
            if (proof.IsEmpty)
            {
                return false;
            }

            known = proof[0];
            proof = proof[1..];
        }

        var (inSubtree, inTree) = (known, known);
        foreach (var node in proof)
        {
            if (top == 0)
            {
                return false;
            }

            if ((last & 1) == 1 || last == top)
            {
                if (first < last)
                {
                    inSubtree = NodeHash(node, inSubtree);
                }

                inTree = NodeHash(node, inTree);
                var levels = BitOperations.TrailingZeroCount(last);
                (first, last, top) = (first >> levels, last >> levels, top >> levels);
            }
            else
            {
                inTree = NodeHash(inTree, node);
            }

            (first, last, top) = (first >> 1, last >> 1, top >> 1);
        }

        return top == 0 && inSubtree == subtreeRoot && inTree == root;
    }

    /// <summary>True when [start, end) is the whole of some node: start is a multiple of the power of two that covers it.</summary>
    internal static bool IsValidSubtree(long start, long end) =>
        start >= 0 && start < end && (start & (long)(BitOperations.RoundUpToPowerOf2((ulong)(end - start)) - 1)) == 0;
}
