using System.Numerics;

namespace Yizhan.Transparency;

/// <summary>Makes roots and proofs of any size out of the complete subtrees that are stored (RFC 6962 §2.1.1, §2.1.2).</summary>
/// <param name="node">Root of the complete subtree over leaves [index·2^level, (index+1)·2^level). Asked for O(log size) of them.</param>
internal readonly struct MerkleProofs(Func<int, long, TreeHash> node)
{
    private readonly Func<int, long, TreeHash> _node = node;

    /// <summary>Root of the first <paramref name="size"/> leaves.</summary>
    public TreeHash Root(long size) => size == 0 ? Merkle.EmptyRoot : Root(0, size);

    /// <summary>PATH(index, D[size]), from the leaf up.</summary>
    public TreeHash[] Inclusion(long index, long size)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(index);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(index, size);
        var path = new List<TreeHash>();
        Path(index, 0, size, path);
        return [.. path];
    }

    /// <summary>PROOF(oldSize, D[newSize]); empty when both are equal or the old tree is empty.</summary>
    public TreeHash[] Consistency(long oldSize, long newSize)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(oldSize);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(oldSize, newSize);
        var proof = new List<TreeHash>();
        if (oldSize > 0)
        {
            SubProof(oldSize, 0, newSize, isOldTree: true, proof);
        }

        return [.. proof];
    }

    private TreeHash Root(long start, long end)
    {
        var split = Split(end - start);
        return split == 0
            ? _node(BitOperations.Log2((ulong)(end - start)), start / (end - start))
            : Merkle.NodeHash(Root(start, start + split), Root(start + split, end));
    }

    private void Path(long index, long start, long end, List<TreeHash> path)
    {
        if (end - start == 1)
        {
            return;
        }

        var middle = start + Half(end - start);
        if (index < middle)
        {
            Path(index, start, middle, path);
            path.Add(Root(middle, end));
        }
        else
        {
            Path(index, middle, end, path);
            path.Add(Root(start, middle));
        }
    }

    private void SubProof(long oldSize, long start, long end, bool isOldTree, List<TreeHash> proof)
    {
        if (oldSize == end)
        {
            if (!isOldTree)
            {
                proof.Add(Root(start, end));
            }

            return;
        }

        var middle = start + Half(end - start);
        if (oldSize <= middle)
        {
            SubProof(oldSize, start, middle, isOldTree, proof);
            proof.Add(Root(middle, end));
        }
        else
        {
            SubProof(oldSize, middle, end, isOldTree: false, proof);
            proof.Add(Root(start, middle));
        }
    }

    /// <summary>The largest power of two that is smaller than n ≥ 2.</summary>
    private static long Half(long n) => (long)(BitOperations.RoundUpToPowerOf2((ulong)n) / 2);

    /// <summary>Where a ragged subtree splits; 0 when it is complete.</summary>
    private static long Split(long n) => BitOperations.IsPow2(n) ? 0 : Half(n);
}
