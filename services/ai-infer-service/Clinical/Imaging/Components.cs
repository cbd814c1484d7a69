namespace Yizhan.AiInfer.Clinical.Imaging;

/// <summary>Connected components of a label: voxels that share a face.</summary>
internal static class Components
{
    /// <summary>Numbers each component from 1, in order of its first voxel.</summary>
    /// <returns>The number of each voxel, 0 for none, and how many components there are.</returns>
    public static (int[] Numbers, int Count) Find(ReadOnlySpan<byte> labels, int[] size, byte label)
    {
        var numbers = new int[labels.Length];
        var stack = new Stack<int>();
        var count = 0;
        int plane = size[1] * size[2], row = size[2];
        for (var seed = 0; seed < labels.Length; seed++)
        {
            if (labels[seed] != label || numbers[seed] != 0)
            {
                continue;
            }

            numbers[seed] = ++count;
            stack.Push(seed);
            while (stack.TryPop(out var at))
            {
                var (i, j, k) = (at / plane, at / row % size[1], at % row);
                Visit(labels, i > 0, at - plane);
                Visit(labels, i < size[0] - 1, at + plane);
                Visit(labels, j > 0, at - row);
                Visit(labels, j < size[1] - 1, at + row);
                Visit(labels, k > 0, at - 1);
                Visit(labels, k < size[2] - 1, at + 1);
            }
        }

        return (numbers, count);

        void Visit(ReadOnlySpan<byte> all, bool inside, int at)
        {
            if (inside && all[at] == label && numbers[at] == 0)
            {
                numbers[at] = count;
                stack.Push(at);
            }
        }
    }

    /// <summary><c>KeepLargestConnectedComponent</c>: all but the largest component of a label becomes background.</summary>
    public static void KeepLargest(Span<byte> labels, int[] size, byte label)
    {
        var (numbers, count) = Find(labels, size, label);
        if (count < 2)
        {
            return;
        }

        var sizes = new int[count + 1];
        foreach (var number in numbers)
        {
            sizes[number]++;
        }

        sizes[0] = 0;
        var largest = Array.IndexOf(sizes, sizes.Max());
        for (var n = 0; n < labels.Length; n++)
        {
            if (numbers[n] != 0 && numbers[n] != largest)
            {
                labels[n] = 0;
            }
        }
    }
}
