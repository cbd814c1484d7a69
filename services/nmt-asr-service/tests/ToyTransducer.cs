using System.Text;
using static Yizhan.NmtAsr.Tests.Relabelled;

namespace Yizhan.NmtAsr.Tests;

/// <summary>
/// A transducer of sherpa-onnx that hears nothing: whatever is said, 甲 is a little likelier than 乙, and after one of them nothing else follows. So what a hot word does is seen with the real library and no model of
/// hundreds of megabytes. Its type is the library's simplest that streams (<c>lstm</c>).
/// </summary>
internal static class ToyTransducer
{
    private const int Float = 1, Long = 7;

    private static readonly string[] s_tokens = ["<blk>", "甲", "乙", "丙", "丁"];

    /// <summary>Writes its files.</summary>
    public static string Write(string folder)
    {
        Directory.CreateDirectory(folder);
        var count = s_tokens.Length;
        Save("encoder.onnx",
            [.. Node("Identity", ["likely"], "encoder_out"), .. Node("Identity", ["h"], "next_h"), .. Node("Identity", ["c"], "next_c"), .. Tensor("likely", [1, 1, count], [-5, 0, -0.4f, -9, -9])],
            [("x", Float, ["N", "9", "80"]), ("h", Float, ["1", "N", "1"]), ("c", Float, ["1", "N", "1"])], [("encoder_out", Float, ["N", "1", $"{count}"]), ("next_h", Float, ["1", "N", "1"]), ("next_c", Float, ["1", "N", "1"])],
            ("model_type", "lstm"), ("num_encoder_layers", "1"), ("T", "9"), ("decode_chunk_len", "4"), ("rnn_hidden_size", "1"), ("d_model", "1"));

        // Behind a token only the blank is likely.
        float[] follows = [.. Enumerable.Range(0, count * count).Select(i => i < count || i % count == 0 ? 0f : -100f)];
        Save("decoder.onnx",
            [.. Node("Max", ["y", "none"], "said"), .. Node("Gather", ["follows", "said"], "each"), .. Node("ReduceSum", ["each", "both"], "decoder_out", Field(5, [.. Field(1, "keepdims"u8), .. Number(3, 0), .. Number(20, 2)])),
                .. Tensor("follows", [count, count], follows), .. Tensor("none", 0), .. Tensor("both", 1)],
            [("y", Long, ["N", "2"])], [("decoder_out", Float, ["N", $"{count}"])], ("vocab_size", $"{count}"), ("context_size", "2"));
        Save("joiner.onnx", Node("Add", ["encoder_out", "decoder_out"], "logit"), [("encoder_out", Float, ["N", $"{count}"]), ("decoder_out", Float, ["N", $"{count}"])], [("logit", Float, ["N", $"{count}"])], ("joiner_dim", $"{count}"));
        File.WriteAllLines(Path.Combine(folder, "tokens.txt"), s_tokens.Select((t, i) => $"{t} {i}"));
        return folder;

        void Save(string file, byte[] graph, (string, int, string[])[] inputs, (string, int, string[])[] outputs, params (string, string)[] metadata) => File.WriteAllBytes(Path.Combine(folder, file), WithMetadata(
            [
                .. Number(1, 8), .. Field(7, [.. graph, .. Field(2, "toy"u8), .. inputs.SelectMany(i => Value(11, i)), .. outputs.SelectMany(o => Value(12, o))]),
                .. Field(8, [.. Field(1, ""u8), .. Number(2, 13)]),
            ],
            metadata));
    }

    /// <summary>An input or output (ValueInfoProto); a size that is no number is anything.</summary>
    private static byte[] Value(int field, (string Name, int Type, string[] Sizes) value) => Field(field, [
        .. Field(1, Encoding.ASCII.GetBytes(value.Name)),
        .. Field(2, Field(1, [.. Number(1, value.Type), .. Field(2, [.. value.Sizes.SelectMany(s => Field(1, long.TryParse(s, out var size) ? Number(1, size) : Field(2, Encoding.ASCII.GetBytes(s))))])]))]);
}
