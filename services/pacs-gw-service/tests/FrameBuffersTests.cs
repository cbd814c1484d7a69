using Yizhan.PacsGw.Codecs;

namespace Yizhan.PacsGw.Tests;

/// <summary>Arrays that pictures are made in, again and again.</summary>
public sealed class FrameBuffersTests
{
    [Fact]
    public void An_array_comes_again_for_a_frame_of_its_size_only_and_to_one_at_a_time()
    {
        var buffers = new FrameBuffers();
        var first = buffers.Rent(1000);
        buffers.Return(first);
        Assert.Equal(999, buffers.Rent(999).Length);
        Assert.Same(first, buffers.Rent(1000));
        Assert.NotSame(first, buffers.Rent(1000));
    }

    [Fact]
    public void Few_arrays_are_kept_and_no_huge_one()
    {
        var buffers = new FrameBuffers();
        byte[][] all = [.. Enumerable.Range(0, 20).Select(_ => new byte[100])];
        foreach (var array in all)
        {
            buffers.Return(array);
        }

        var again = Enumerable.Range(0, 20).Select(_ => buffers.Rent(100)).ToList();
        Assert.Equal(8, again.Count(array => all.Contains(array)));
        var huge = new byte[5 << 20];
        buffers.Return(huge);
        Assert.NotSame(huge, buffers.Rent(huge.Length));
    }
}
