using CsCheck;

namespace Yizhan.Transcripts.Tests;

[Trait("Clause", "S4")]
public sealed class AlignmentTests
{
    [Theory]
    [InlineData("the cat sat", "the cat sat", 3, 0, 0, 0)]
    [InlineData("the cat sat on the mat", "the cat sit on mat", 4, 1, 1, 0)]
    [InlineData("a b c", "a b x c", 3, 0, 0, 1)]
    [InlineData("", "noise", 0, 0, 0, 1)]
    [InlineData("something", "", 0, 0, 1, 0)]
    [InlineData("", "", 0, 0, 0, 0)]
    public void Known_vectors_are_counted(string reference, string hypothesis, long correct, long substitutions, long deletions, long insertions) =>
        Assert.Equal(
            new ErrorCounts(correct, substitutions, deletions, insertions),
            Alignment.Count(TranscriptTokens.Words(reference), TranscriptTokens.Words(hypothesis), AlignmentCost.Sclite));

    [Fact]
    public void Unit_costs_give_the_edit_distance_of_Levenshtein() => Gen.Select(Gen.String["abc"], Gen.String["abc"]).Sample((a, b) =>
        Alignment.Count([.. a.Select(c => $"{c}")], [.. b.Select(c => $"{c}")], AlignmentCost.Unit).Errors == Levenshtein(a, b));

    [Fact]
    public void Counts_add_up_whatever_is_aligned() => Gen.Select(Gen.String["甲乙丙"], Gen.String["甲乙丙"]).Sample((a, b) =>
    {
        var counts = Alignment.Count(TranscriptTokens.Characters(a), TranscriptTokens.Characters(b), AlignmentCost.Sclite);
        return counts.Reference == a.Length && counts.Correct + counts.Substitutions + counts.Insertions == b.Length;
    });

    [Fact]
    public void An_utterance_that_is_none_is_refused_before_memory_is_taken()
    {
        var day = Enumerable.Repeat("a", Alignment.MaxTokens + 1).ToArray();
        var e = Assert.Throws<ArgumentException>(() => Alignment.Count(day, day, AlignmentCost.Unit));
        Assert.Contains("8001", e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0, 0, 0)]
    [InlineData(63, 300, 0.167)] // Wilson 95 %: the rule file's own case of chance
    [InlineData(50, 100, 0.404)]
    [InlineData(300, 100, 0.963)] // more errors than words count as all wrong
    public void The_lower_bound_is_Wilsons(long errors, long words, double expected) =>
        Assert.Equal(expected, new ErrorCounts(Math.Max(0, words - errors), Math.Min(errors, words), 0, Math.Max(0, errors - words)).LowerBound, 0.002);

    [Fact]
    public void Text_for_silence_is_not_free() => Assert.Equal(2, new ErrorCounts(0, 0, 0, 2).Rate);

    private static int Levenshtein(string a, string b)
    {
        var row = Enumerable.Range(0, b.Length + 1).ToArray();
        for (var i = 1; i <= a.Length; i++)
        {
            var previous = row[0];
            row[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                (previous, row[j]) = (row[j], Math.Min(Math.Min(row[j], row[j - 1]) + 1, previous + (a[i - 1] == b[j - 1] ? 0 : 1)));
            }
        }

        return row[^1];
    }
}
