using System.Runtime.InteropServices;
using System.Text;
using Yizhan.NmtAsr.Ctc;

namespace Yizhan.NmtAsr.Tests;

/// <summary>
/// Our own Mandarin network as one of the family "omnilingual-ctc" of sherpa-onnx: that family hears waves and not mel bands, so the windows, their spectrum and the bands are put before it, as a convolution. For
/// tests alone: what comes out are sounds, not text.
/// </summary>
internal static class Relabelled
{
    /// <summary>The family hears waves of mean 0 and variance 1; this is how loud the network then hears them.</summary>
    public const float Level = 0.05f;

    private const int Window = 400, Hop = 160, Points = 512, Bins = Points / 2 + 1, Together = CtcModel.WindowsPerFrame, Length = Window + Hop * (Together - 1);

    public static string Pack { get; } = Path.Combine(Given.Root, "models", "speech", "mandarin-phrases", "1.0.0", "models");

    /// <summary>Writes <c>model.onnx</c> and <c>tokens.txt</c>.</summary>
    public static void Write(string folder)
    {
        var (rows, kernel, bands) = (Together * Bins * 2, new float[Together * Bins * 2 * Length], new float[Together * LogMel.Bands * Together * Bins * 2]);
        for (var w = 0; w < Together; w++)
        {
            for (var bin = 0; bin < Bins; bin++)
            {
                for (var i = 0; i < Window; i++)
                {
                    var (hann, turn) = (0.5 - 0.5 * Math.Cos(2 * Math.PI * i / Window), 2 * Math.PI * bin * i / Points);
                    kernel[((w * Bins + bin) * 2) * Length + w * Hop + i] = (float)(hann * Math.Cos(turn));
                    kernel[((w * Bins + bin) * 2 + 1) * Length + w * Hop + i] = (float)(-hann * Math.Sin(turn));
                }

                for (var band = 0; band < LogMel.Bands; band++)
                {
                    bands[(w * LogMel.Bands + band) * rows + (w * Bins + bin) * 2] = bands[(w * LogMel.Bands + band) * rows + (w * Bins + bin) * 2 + 1] = Weight(band, bin);
                }
            }
        }

        byte[] before =
        [
            .. Node("Mul", ["wave", "level"], "loud"), .. Node("Reshape", ["loud", "one"], "line"), .. Node("Conv", ["line", "kernel"], "spectrum", Ints("strides", Hop * Together)),
            .. Node("Mul", ["spectrum", "spectrum"], "power"), .. Node("MatMul", ["bands", "power"], "mel"), .. Node("Max", ["mel", "floor"], "heard"), .. Node("Log", ["heard"], "log"),
            .. Node("Transpose", ["log"], "frames", Ints("perm", 0, 2, 1)), .. Node("Reshape", ["frames", "windows"], "x"),
            .. Tensor("level", [], [Level]), .. Tensor("floor", [], [1e-7f]), .. Tensor("kernel", [rows, 1, Length], kernel), .. Tensor("bands", [Together * LogMel.Bands, rows], bands),
            .. Tensor("one", 1, 1, -1), .. Tensor("windows", 1, -1, LogMel.Bands),
            .. Field(11, [.. Field(1, "wave"u8), .. Field(2, Field(1, [.. Number(1, 1), .. Field(2, [.. Field(1, Field(2, "n"u8)), .. Field(1, Field(2, "s"u8))])]))]),
        ];

        // A message that is written behind another is merged with it (protocol buffers, "Last One Wins"); only the old input goes.
        var made = new List<byte>();
        foreach (var (number, whole, content) in Fields(File.ReadAllBytes(Path.Combine(Pack, "model.onnx"))))
        {
            made.AddRange(number == 7 ? Field(7, [.. before, .. Fields(content).Where(f => f.Number != 11).SelectMany(f => f.Whole)]) : whole);
        }

        File.WriteAllBytes(Path.Combine(folder, "model.onnx"), [.. made]);
        File.WriteAllLines(Path.Combine(folder, "tokens.txt"), Tokens().Select((t, i) => $"{t} {i}"));
    }

    /// <summary>A network with metadata written behind it (<c>metadata_props</c> of its ModelProto).</summary>
    public static byte[] WithMetadata(byte[] network, params (string Key, string Value)[] metadata) =>
        [.. network, .. metadata.SelectMany(m => Field(14, [.. Field(1, Encoding.ASCII.GetBytes(m.Key)), .. Field(2, Encoding.ASCII.GetBytes(m.Value))]))];

    /// <summary>What the network's likeliest sounds are, by our own runtime, for the same sound at the same level.</summary>
    public static string Greedy(short[] samples)
    {
        var (mean, square) = (samples.Average(s => s / 32768.0), samples.Average(s => s / 32768.0 * (s / 32768.0)));
        var loud = samples.Select(s => (short)Math.Round((s / 32768.0 - mean) / Math.Sqrt(square - mean * mean + 1e-5) * Level * 32768)).ToArray();
        var windows = new List<float>();
        new LogMel().Push(loud, windows);
        using var model = CtcModel.Load(Pack, true, true, 9, 2);
        var found = model.Run([.. windows.Take(windows.Count / (Together * LogMel.Bands) * Together * LogMel.Bands)]);
        var best = Enumerable.Range(0, found.Length / model.Tokens).Select(f => Enumerable.Range(0, model.Tokens).MaxBy(t => found[f * model.Tokens + t])).ToArray();
        var tokens = Tokens();
        return string.Concat(best.Where((t, i) => t != 0 && (i == 0 || best[i - 1] != t)).Select(t => tokens[t]));
    }

    private static string[] Tokens() => [.. File.ReadLines(Path.Combine(Pack, "tokens.txt")).Where(l => l.Length > 0).Select(l => l.Split(' ')[0] is var t && t == "<b>" ? "<blk>" : t)];

    private static float Weight(int band, int bin)
    {
        static double Mel(double hertz) => 2595 * Math.Log10(1 + hertz / 700);
        double Edge(int i) => 700 * (Math.Pow(10, (Mel(60) + (Mel(7600) - Mel(60)) * i / (LogMel.Bands + 1)) / 2595) - 1);
        var f = bin * 16_000.0 / Points;
        return (float)Math.Max(0, Math.Min((f - Edge(band)) / (Edge(band + 1) - Edge(band)), (Edge(band + 2) - f) / (Edge(band + 2) - Edge(band + 1))));
    }

    internal static byte[] Node(string operation, string[] inputs, string output, byte[]? attribute = null) => Field(1, [
        .. inputs.SelectMany(i => Field(1, Encoding.ASCII.GetBytes(i))), .. Field(2, Encoding.ASCII.GetBytes(output)), .. Field(4, Encoding.ASCII.GetBytes(operation)), .. attribute ?? []]);

    private static byte[] Ints(string name, params int[] values) => Field(5, [.. Field(1, Encoding.ASCII.GetBytes(name)), .. values.SelectMany(v => Number(8, v)), .. Number(20, 7)]);

    internal static byte[] Tensor(string name, int[] shape, float[] values) => Field(5, [
        .. shape.SelectMany(d => Number(1, d)), .. Number(2, 1), .. Field(8, Encoding.ASCII.GetBytes(name)), .. Field(9, MemoryMarshal.AsBytes(values.AsSpan()))]);

    internal static byte[] Tensor(string name, params long[] values) => Field(5, [
        .. Number(1, values.Length), .. Number(2, 7), .. Field(8, Encoding.ASCII.GetBytes(name)), .. Field(9, MemoryMarshal.AsBytes(values.AsSpan()))]);

    internal static byte[] Field(int number, ReadOnlySpan<byte> content) => [.. Varint((ulong)number << 3 | 2), .. Varint((ulong)content.Length), .. content];

    internal static byte[] Number(int number, long value) => [.. Varint((ulong)number << 3), .. Varint((ulong)value)];

    private static byte[] Varint(ulong value)
    {
        var bytes = new List<byte>();
        for (; value > 127; value >>= 7)
        {
            bytes.Add((byte)(value | 128));
        }

        return [.. bytes, (byte)value];
    }

    private static List<(int Number, byte[] Whole, byte[] Content)> Fields(byte[] message)
    {
        var fields = new List<(int, byte[], byte[])>();
        for (var at = 0; at < message.Length;)
        {
            var start = at;
            var tag = Read(message, ref at);
            var value = Read(message, ref at);
            var content = (tag & 7) == 2 ? message[at..(at += (int)value)] : [];
            fields.Add(((int)(tag >> 3), message[start..at], content));
        }

        return fields;
    }

    private static ulong Read(byte[] message, ref int at)
    {
        ulong value = 0;
        for (var shift = 0; ; shift += 7)
        {
            var one = message[at++];
            value |= (ulong)(one & 127) << shift;
            if (one < 128)
            {
                return value;
            }
        }
    }
}
