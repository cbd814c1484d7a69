using Microsoft.Extensions.DependencyInjection;
using Yizhan.AiInfer.Repository;
using Yizhan.Samples;

namespace Yizhan.AiInfer.Tests;

/// <summary>Published figures are measured again, on slices drawn anew: <c>yizhan model figures</c> does the same over the line.</summary>
public sealed class FiguresTests
{
    [Fact]
    [Trait("Clause", "S3")]
    public async Task The_figures_of_the_nodule_bundle_are_reproduced()
    {
        await using var node = await Node.StartAsync(_ => { }, "--ai-infer:load:0=nodule");
        NoduleSlices.Slice[] slices = [.. NoduleSlices.Draw(2026, 1200)];
        var answers = new List<float[]>();
        foreach (var chunk in slices.Chunk(10))
        {
            var output = await node.InferBinaryAsync("nodule", Floats.Tensor("image", [chunk.Length, 1, NoduleSlices.Size, NoduleSlices.Size], [.. chunk.SelectMany(s => s.Image)]));
            answers.AddRange(Floats.Of(output.Single()).Chunk(NoduleSlices.Size * NoduleSlices.Size));
        }

        var measured = NoduleSlices.Figures(slices, answers);
        var published = node.Services.GetRequiredService<ModelRepository>().Bundle("nodule", "1.0.0").Settings.Figures!.Values;
        Assert.Equal(published.Keys.Order(StringComparer.Ordinal), measured.Keys.Order(StringComparer.Ordinal));
        Assert.All(published, figure => Assert.True(
            Math.Abs(figure.Value - measured[figure.Key]) <= 0.05, FormattableString.Invariant($"{figure.Key}: {figure.Value} is published, {measured[figure.Key]:0.000} was measured")));
    }
}
