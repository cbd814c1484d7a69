using Yizhan.OpenInference;

namespace Yizhan.AiInfer.Engine;

/// <summary>Joins tensors along their first dimension and cuts them again.</summary>
internal static class Batch
{
    /// <summary>One request out of several whose tensors agree in everything but the first dimension.</summary>
    public static IReadOnlyList<InferenceTensor> Join(IReadOnlyList<IReadOnlyList<InferenceTensor>> requests) =>
        [.. requests[0].Select((first, t) =>
        {
            var data = new byte[requests.Sum(r => r[t].Data.Length)];
            var at = 0;
            foreach (var request in requests)
            {
                request[t].Data.CopyTo(data.AsMemory(at));
                at += request[t].Data.Length;
            }

            return first with { Shape = [requests.Sum(r => r[t].Shape[0]), .. first.Shape.Skip(1)], Data = data };
        })];

    /// <summary>The part of each request; no bytes are copied.</summary>
    /// <exception cref="ModelFailedException">The model's outputs are not as long as its inputs: it cannot be batched.</exception>
    public static IReadOnlyList<IReadOnlyList<InferenceTensor>> Split(IReadOnlyList<InferenceTensor> outputs, IReadOnlyList<int> elements)
    {
        var total = elements.Sum();
        if (outputs.FirstOrDefault(o => o.Shape.Count == 0 || o.Shape[0] != total || o.Datatype == TensorDatatype.Bytes) is { } wrong)
        {
            throw new ModelFailedException($"Output '{wrong.Name}' has shape [{string.Join(",", wrong.Shape)}] for a batch of {total}: this model cannot be batched.");
        }

        var from = 0;
        return [.. elements.Select(count =>
        {
            var part = outputs.Select(o =>
            {
                var size = o.Data.Length / total;
                return o with { Shape = [count, .. o.Shape.Skip(1)], Data = o.Data.Slice(from * size, count * size) };
            }).ToArray();
            from += count;
            return part;
        })];
    }
}
