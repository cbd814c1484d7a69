using System.Text.Json.Nodes;
using Yizhan.AiInfer.Clinical.Imaging;
using Yizhan.Platform.Bundles;

namespace Yizhan.AiInfer.Clinical;

/// <summary>
/// What <c>configs/inference.json</c> of a bundle says is done to an image before and after the network. A fixed list of MONAI's transforms is understood; another one,
/// or a Python expression, refuses the bundle by name.
/// </summary>
internal sealed class Recipe
{
    private static readonly string[] NothingToDo = ["LoadImage", "EnsureChannelFirst", "EnsureType", "ToTensor", "Invert", "SaveImage", "AddChannel"];

    private readonly List<Func<Volume, Volume>> _before = [];
    private readonly List<Action<byte[], int[]>> _after = [];
    private bool _sigmoid;
    private bool _softmax;
    private bool _argmax;
    private double? _threshold;

    private Recipe()
    {
    }

    /// <summary>How the network is run over the image; null for the image as a whole.</summary>
    public SlidingWindow? Window { get; private set; }

    /// <summary>Axis along which a network of two dimensions is run; null for one of three.</summary>
    public int? SliceAxis { get; private set; }

    /// <summary>Reads a recipe.</summary>
    /// <exception cref="BundleRefusedException">It asks for something that is not understood.</exception>
    public static Recipe Parse(JsonObject? inference)
    {
        var recipe = new Recipe();
        foreach (var (node, where) in Transforms(inference, "preprocessing").Concat(Transforms(inference, "postprocessing")))
        {
            recipe.Add(node, where);
        }

        if (inference?["inferer"] is JsonObject inferer)
        {
            recipe.AddInferer(new Arguments(inferer, "inferer"));
        }

        return recipe;
    }

    /// <summary>Everything before the network.</summary>
    public Volume Prepare(Volume image)
    {
        // Transforms of values write in place: the source must stay what it is.
        var prepared = image.With([.. image.Voxels]);
        return _before.Aggregate(prepared, (volume, transform) => transform(volume));
    }

    /// <summary>Everything after it: from channels, or labels, to labels.</summary>
    public byte[] Finish(float[][] channels, bool areLabels, int[] size)
    {
        var labels = new byte[channels[0].Length];
        for (var n = 0; n < labels.Length; n++)
        {
            labels[n] = areLabels ? (byte)Math.Clamp(channels[0][n], 0, 255) : Decide(channels, n);
        }

        _after.ForEach(step => step(labels, size));
        return labels;
    }

    private byte Decide(float[][] channels, int n)
    {
        if (_argmax || channels.Length > 1)
        {
            // Softmax keeps the order, so it need not be computed for this.
            var best = 0;
            for (var c = 1; c < channels.Length; c++)
            {
                best = channels[c][n] > channels[best][n] ? c : best;
            }

            return (byte)best;
        }

        var value = _sigmoid || _softmax ? 1 / (1 + Math.Exp(-channels[0][n])) : channels[0][n];
        return value >= (_threshold ?? 0.5) ? (byte)1 : (byte)0;
    }

    private void Add(JsonObject node, string where)
    {
        var a = new Arguments(node, where);
        switch (a.Target)
        {
            case var name when NothingToDo.Contains(name):
                break;
            case "Orientation":
                var codes = AxisCodes(a, "RAS");
                _before.Add(v => SpatialTransforms.Orient(v, codes));
                break;
            case "Conform":
                var grid = a.Numbers("spatial_size").Select(d => (int)d).ToArray();
                var conform = new Conform(grid.Length == 1 ? [grid[0], grid[0], grid[0]] : grid, a.Number("pixdim", 1), AxisCodes(a, "LIA"));
                if (conform.Size.Count != 3 || conform.Size.Any(n => n is < 8 or > 512) || conform.SpacingMm is < 0.1 or > 10)
                {
                    throw new BundleRefusedException($"{where}: accepted are a spatial_size of 8 to 512 and a pixdim of 0.1 to 10 mm.");
                }

                _before.Add(conform.Run);
                break;
            case "Spacing":
                var (pixdim, nearest) = (a.Numbers("pixdim"), a.Text("mode", "bilinear") == "nearest");
                _before.Add(v => SpatialTransforms.Space(v, pixdim, nearest));
                break;
            case "ResizeWithPadOrCrop":
                var spatial = a.Numbers("spatial_size").Select(d => (int)d).ToArray();
                _before.Add(v => SpatialTransforms.PadOrCrop(v, spatial));
                break;
            case "ScaleIntensityRange":
                var (aMin, aMax, bMin, bMax, clip) = (a.Number("a_min"), a.Number("a_max"), a.Number("b_min", 0), a.Number("b_max", 1), a.Flag("clip"));
                Values(v => IntensityTransforms.ScaleRange(v, aMin, aMax, bMin, bMax, clip));
                break;
            case "ScaleIntensity":
                var (low, high) = (a.Number("minv", 0), a.Number("maxv", 1));
                Values(v => IntensityTransforms.Scale(v, low, high));
                break;
            case "ScaleIntensityRangePercentiles":
                var (lower, upper, to, until, clipped) = (a.Number("lower"), a.Number("upper"), a.Number("b_min", 0), a.Number("b_max", 1), a.Flag("clip"));
                Values(v => IntensityTransforms.ScalePercentiles(v, lower, upper, to, until, clipped));
                break;
            case "NormalizeIntensity":
                var (subtrahend, divisor, nonzero) = (a.NumberOrNull("subtrahend"), a.NumberOrNull("divisor"), a.Flag("nonzero"));
                Values(v => IntensityTransforms.Normalize(v, subtrahend, divisor, nonzero));
                break;
            case "Activations":
                (_sigmoid, _softmax) = (a.Flag("sigmoid"), a.Flag("softmax"));
                break;
            case "AsDiscrete":
                (_argmax, _threshold) = (a.Flag("argmax"), a.NumberOrNull("threshold"));
                break;
            case "KeepLargestConnectedComponent":
                var applied = a.Numbers("applied_labels");
                _after.Add((labels, size) =>
                {
                    foreach (var label in applied)
                    {
                        Components.KeepLargest(labels, size, (byte)label);
                    }
                });
                break;
            default:
                throw new BundleRefusedException(
                    $"{where}: '{a.Target}' is not understood; accepted: Orientation, Spacing, Conform, ResizeWithPadOrCrop, ScaleIntensity, ScaleIntensityRange, ScaleIntensityRangePercentiles, "
                    + $"NormalizeIntensity, Activations, AsDiscrete, KeepLargestConnectedComponent, and {string.Join(", ", NothingToDo)}, each also with 'd'.");
        }

        string AxisCodes(Arguments from, string otherwise) => from.Text("axcodes", otherwise) is { Length: 3 } letters && letters.All(c => "RLAPSI".Contains(c, StringComparison.Ordinal))
            && letters.Select(c => "RLAPSI".IndexOf(c, StringComparison.Ordinal) / 2).Distinct().Count() == 3
            ? letters
            : throw new BundleRefusedException($"{where}: axcodes '{from.Text("axcodes", otherwise)}' are no three axes; accepted: such as RAS or PLS.");

        void Values(Action<float[]> change) => _before.Add(v =>
        {
            change(v.Voxels);
            return v;
        });
    }

    private void AddInferer(Arguments a)
    {
        var roi = a.Target == "SimpleInferer" ? [] : a.Numbers("roi_size").Select(d => (int)d).ToArray();
        switch (a.Target)
        {
            case "SimpleInferer":
                break;
            case "SlidingWindowInferer":
                Window = new SlidingWindow(roi, a.Number("overlap", 0.25), a.Text("mode", "constant") == "gaussian", a.Number("sigma_scale", 0.125));
                break;
            case "SliceInferer":
                SliceAxis = (int)a.Number("spatial_dim", 0);
                if (SliceAxis != 2)
                {
                    throw new BundleRefusedException($"inferer: spatial_dim is {SliceAxis}; accepted: 2, the last axis, after Orientation has put the slices there.");
                }

                Window = new SlidingWindow([.. roi, 1], a.Number("overlap", 0.25), a.Text("mode", "constant") == "gaussian", a.Number("sigma_scale", 0.125));
                break;
            default:
                throw new BundleRefusedException($"inferer '{a.Target}' is not understood; accepted: SimpleInferer, SlidingWindowInferer, SliceInferer.");
        }
    }

    private static IEnumerable<(JsonObject, string)> Transforms(JsonObject? inference, string part) => inference?[part]?["transforms"] is JsonArray list
        ? list.Select((node, i) => (node as JsonObject ?? throw new BundleRefusedException($"{part}[{i}] is no object with _target_."), $"{part}[{i}]"))
        : [];

    /// <summary>The members of one transform.</summary>
    private sealed class Arguments(JsonObject node, string where)
    {
        /// <summary>Name of the transform, without the module and the d of its form for dictionaries.</summary>
        public string Target
        {
            get
            {
                var name = Text("_target_", "").Split('.')[^1];
                return name.EndsWith('d') && name is not ("AddChannel" or "Threshold") ? name[..^1] : name;
            }
        }

        public string Text(string key, string otherwise) => Value(key)?.ToString() ?? otherwise;

        public double Number(string key, double? otherwise = null) => NumberOrNull(key) ?? otherwise ?? throw new BundleRefusedException($"{where}: {key} is missing.");

        public double? NumberOrNull(string key) => Value(key) is not { } value ? null
            : value is JsonValue number && number.TryGetValue<double>(out var parsed) && double.IsFinite(parsed) ? parsed
            : throw new BundleRefusedException($"{where}: {key} is {value.ToJsonString()}; accepted: a number.");

        public IReadOnlyList<double> Numbers(string key) => Value(key) switch
        {
            JsonArray list => [.. list.Select(n => n is JsonValue v && v.TryGetValue<double>(out var d) ? d : throw new BundleRefusedException($"{where}: {key} holds {n?.ToJsonString()}; accepted: numbers."))],
            JsonValue one when one.TryGetValue<double>(out var d) => [d],
            _ => throw new BundleRefusedException($"{where}: {key} is missing."),
        };

        /// <summary>MONAI writes true as true, or as a list of one for each key.</summary>
        public bool Flag(string key) => Value(key) switch
        {
            JsonArray { Count: > 0 } list => list[0]!.GetValue<bool>(),
            JsonValue value when value.TryGetValue<bool>(out var flag) => flag,
            _ => false,
        };

        private JsonNode? Value(string key) => node[key] is JsonValue value && value.TryGetValue<string>(out var text) && (text.StartsWith('$') || text.StartsWith('@') || text.StartsWith('%'))
            ? throw new BundleRefusedException($"{where}: {key} is the expression '{text}', and none is ever evaluated; accepted: its value.")
            : node[key];
    }
}
