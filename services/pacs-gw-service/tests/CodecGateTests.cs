using Microsoft.Extensions.Options;
using Yizhan.PacsGw.Codecs;

namespace Yizhan.PacsGw.Tests;

/// <summary>No more frames are in codecs at a time than the settings say, and a codec that fails gives its place back.</summary>
public sealed class CodecGateTests
{
    [Fact]
    public async Task A_frame_beyond_the_limit_waits_for_a_place()
    {
        using var gate = new CodecGate(Options.Create(new PacsGwOptions { MaxCodecs = 2 }));
        using var go = new ManualResetEventSlim();
        using var inside = new CountdownEvent(2);
        var (now, most) = (0, 0);
        var frames = Enumerable.Range(0, 6).Select(_ => Task.Run(
            () => gate.RunAsync(
                () =>
                {
                    var count = Interlocked.Increment(ref now);
                    InterlockedMax(ref most, count);
                    if (!inside.IsSet)
                    {
                        inside.Signal();
                    }

                    go.Wait(Gateway.Cancel);
                    return Interlocked.Decrement(ref now);
                },
                Gateway.Cancel).AsTask(),
            Gateway.Cancel)).ToList();
        inside.Wait(Gateway.Cancel);
        go.Set();
        await Task.WhenAll(frames).WaitAsync(TimeSpan.FromMinutes(2), Gateway.Cancel);
        Assert.Equal(2, most);
    }

    [Fact]
    public async Task A_codec_that_fails_gives_its_place_back()
    {
        using var gate = new CodecGate(Options.Create(new PacsGwOptions { MaxCodecs = 1 }));
        for (var i = 0; i < 2; i++)
        {
            await Assert.ThrowsAsync<CodecException>(() => gate.RunAsync<int>(() => throw new CodecException("damaged"), Gateway.Cancel).AsTask());
        }

        Assert.Equal(7, await gate.RunAsync(() => 7, Gateway.Cancel).AsTask().WaitAsync(TimeSpan.FromMinutes(2), Gateway.Cancel));
    }

    private static void InterlockedMax(ref int most, int value)
    {
        for (var known = most; value > known; known = most)
        {
            Interlocked.CompareExchange(ref most, value, known);
        }
    }
}
