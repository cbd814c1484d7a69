using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace Yizhan.Transcripts;

/// <summary>
/// The words and pairs of words of a language model that CMU's tools dumped for Sphinx 3 (<c>.DMP</c>), to be written as ARPA text, which every recogniser reads. pocketsphinx reads a good dump itself;
/// this is for those whose triples are damaged ("some trigrams have no corresponding bigram"), as in the published Mandarin one: the bases of their places, one for each 512 pairs, are zeros. Triples are
/// left out, never guessed.
/// </summary>
public sealed class SphinxModel
{
    private const string Header = "Darpa Trigram LM";
    private const int MaxText = 64 * 1024, UnigramBytes = 16, BigramBytes = 8, TrigramBytes = 4;

    private readonly string[] _words;
    private readonly (float Probability, float Backoff, int First)[] _unigrams;
    private readonly (ushort Word, ushort Probability)[] _bigrams;
    private readonly float[] _probabilities;

    private SphinxModel(ReadOnlySpan<byte> rest)
    {
        if (rest.Length < 4 || BinaryPrimitives.ReadInt32LittleEndian(rest) != Header.Length + 1 || Text(ref rest) != Header)
        {
            throw new InvalidDataException($"This is no language model of Sphinx 3: it does not begin with '{Header}' in little-endian order.");
        }

        Text(ref rest);
        var version = Int(ref rest);
        if (version < -2)
        {
            throw new InvalidDataException($"The language model is of version {version} (32 bits for each word); accepted: -2 and above.");
        }

        if (version <= 0)
        {
            // When the file was made, what is in it, and from -2 on the number of pairs for each base.
            Int(ref rest);
            while (Text(ref rest).Length > 0)
            {
            }

            rest = rest[(version == -2 ? 4 : 0)..];
        }

        var (words, pairs, triples) = (version > 0 ? version : Int(ref rest), Int(ref rest), Int(ref rest));
        if (words is < 1 or > ushort.MaxValue)
        {
            throw new InvalidDataException($"The language model has {words} words; accepted: 1 to {ushort.MaxValue}.");
        }

        // One more of each than there are: where the last one's followers end.
        _unigrams = Each(ref rest, words + 1L, UnigramBytes, b => (BinaryPrimitives.ReadSingleLittleEndian(b[4..]), BinaryPrimitives.ReadSingleLittleEndian(b[8..]), BinaryPrimitives.ReadInt32LittleEndian(b[12..])));
        _bigrams = Each(ref rest, pairs + 1L, BigramBytes, b => (BinaryPrimitives.ReadUInt16LittleEndian(b), BinaryPrimitives.ReadUInt16LittleEndian(b[2..])));
        LeftOut = Each(ref rest, triples, TrigramBytes, _ => true).Length;
        _probabilities = Each(ref rest, Int(ref rest), sizeof(float), BinaryPrimitives.ReadSingleLittleEndian);
        for (var skipped = 0; triples > 0 && skipped < 3; skipped++)
        {
            // What pairs lose when they back off, the triples' probabilities, and the bases of their places.
            Each(ref rest, Int(ref rest), sizeof(int), _ => true);
        }

        _words = Encoding.UTF8.GetString(Cut(ref rest, Int(ref rest))).TrimEnd('\0').Split('\0');
        Check();
    }

    /// <summary>Its words.</summary>
    public int Unigrams => _words.Length;

    /// <summary>Its pairs of words.</summary>
    public int Bigrams => _bigrams.Length - 1;

    /// <summary>Triples that it says it has, and that are not written.</summary>
    public int LeftOut { get; }

    /// <summary>Reads a file.</summary>
    /// <exception cref="InvalidDataException">It is none, it ends early, or its parts do not belong together.</exception>
    public static SphinxModel Read(ReadOnlySpan<byte> file) => new(file);

    /// <summary>Writes words and pairs as ARPA text (logarithms to the base 10).</summary>
    public void WriteArpa(TextWriter to)
    {
        to.Write($"\\data\\\nngram 1={Unigrams}\nngram 2={Bigrams}\n\n\\1-grams:\n");
        for (var i = 0; i < Unigrams; i++)
        {
            to.Write(string.Create(CultureInfo.InvariantCulture, $"{_unigrams[i].Probability:0.0000}\t{_words[i]}\t{_unigrams[i].Backoff:0.0000}\n"));
        }

        to.Write("\n\\2-grams:\n");
        for (var i = 0; i < Unigrams; i++)
        {
            for (var k = _unigrams[i].First; k < _unigrams[i + 1].First; k++)
            {
                to.Write(string.Create(CultureInfo.InvariantCulture, $"{_probabilities[_bigrams[k].Probability]:0.0000}\t{_words[i]} {_words[_bigrams[k].Word]}\n"));
            }
        }

        to.Write("\n\\end\\\n");
    }

    /// <summary>No number in the file points beside what it should point at.</summary>
    private void Check()
    {
        var good = _words.Length == _unigrams.Length - 1 && _unigrams[0].First == 0 && _unigrams[^1].First == Bigrams
            && _words.All(w => w.Length > 0 && !w.Any(c => char.IsWhiteSpace(c) || char.IsControl(c)))
            && _unigrams.SkipLast(1).Zip(_unigrams.Skip(1)).All(u => u.First.First <= u.Second.First && float.IsFinite(u.First.Probability) && float.IsFinite(u.First.Backoff))
            && _bigrams.SkipLast(1).All(b => b.Word < Unigrams && b.Probability < _probabilities.Length && float.IsFinite(_probabilities[b.Probability]));
        if (!good)
        {
            throw new InvalidDataException("The parts of the language model do not belong together: a number in it points beside what it should point at.");
        }
    }

    private static int Int(ref ReadOnlySpan<byte> rest) => BinaryPrimitives.ReadInt32LittleEndian(Cut(ref rest, sizeof(int)));

    private static string Text(ref ReadOnlySpan<byte> rest) => Int(ref rest) is >= 0 and <= MaxText and var length
        ? Encoding.ASCII.GetString(Cut(ref rest, length)).TrimEnd('\0')
        : throw new InvalidDataException($"A text in the head of the language model is longer than {MaxText} bytes.");

    private static ReadOnlySpan<byte> Cut(ref ReadOnlySpan<byte> rest, long length)
    {
        var cut = length >= 0 && length <= rest.Length ? rest[..(int)length] : throw new InvalidDataException("The language model ends early.");
        rest = rest[(int)length..];
        return cut;
    }

    private static T[] Each<T>(ref ReadOnlySpan<byte> rest, long count, int bytes, Func<ReadOnlySpan<byte>, T> read)
    {
        var part = Cut(ref rest, count * bytes);
        var all = new T[count];
        for (var i = 0; i < all.Length; i++)
        {
            all[i] = read(part.Slice(i * bytes, bytes));
        }

        return all;
    }
}
