namespace Yizhan.Transcripts;

/// <summary>What an error costs while the best alignment is looked for.</summary>
/// <param name="Substitution">One token for another.</param>
/// <param name="Gap">A token too few or too many.</param>
public readonly record struct AlignmentCost(int Substitution, int Gap)
{
    /// <summary>NIST's sclite: 4 for a substitution, 3 for an insertion or a deletion.</summary>
    public static AlignmentCost Sclite { get; } = new(4, 3);

    /// <summary>Levenshtein's: each error costs 1, as in jiwer.</summary>
    public static AlignmentCost Unit { get; } = new(1, 1);
}

/// <summary>The cheapest alignment of what was said with what was recognised.</summary>
public static class Alignment
{
    /// <summary>Most tokens of one side: an utterance, not a day. Time and memory grow with the product of both.</summary>
    public const int MaxTokens = 8000;

    private const byte Diagonal = 0, Insert = 1, Delete = 2;

    /// <summary>Counts the errors of one utterance. Tokens are equal when their characters are.</summary>
    /// <exception cref="ArgumentException">A side has more than <see cref="MaxTokens"/> tokens.</exception>
    public static ErrorCounts Count(IReadOnlyList<string> reference, IReadOnlyList<string> hypothesis, AlignmentCost cost)
    {
        if (reference.Count > MaxTokens || hypothesis.Count > MaxTokens)
        {
            throw new ArgumentException($"An utterance of {Math.Max(reference.Count, hypothesis.Count)} tokens is not aligned; accepted: up to {MaxTokens}. Give one line for each utterance.");
        }

        var width = hypothesis.Count + 1;
        var moves = new byte[(reference.Count + 1) * width];
        var row = new int[width];
        for (var j = 1; j < width; j++)
        {
            (row[j], moves[j]) = (j * cost.Gap, Insert);
        }

        for (var i = 1; i <= reference.Count; i++)
        {
            var diagonal = row[0];
            row[0] = i * cost.Gap;
            moves[i * width] = Delete;
            for (var j = 1; j < width; j++)
            {
                var same = string.Equals(reference[i - 1], hypothesis[j - 1], StringComparison.Ordinal);
                var (best, move) = (diagonal + (same ? 0 : cost.Substitution), Diagonal);

                // Of equal cost, sclite's own order: the counts are compared with it token by token in the tests.
                if (row[j - 1] + cost.Gap < best)
                {
                    (best, move) = (row[j - 1] + cost.Gap, Insert);
                }

                if (row[j] + cost.Gap < best)
                {
                    (best, move) = (row[j] + cost.Gap, Delete);
                }

                (diagonal, row[j], moves[i * width + j]) = (row[j], best, move);
            }
        }

        long correct = 0, substitutions = 0, deletions = 0, insertions = 0;
        for (var (i, j) = (reference.Count, hypothesis.Count); i > 0 || j > 0;)
        {
            switch (moves[i * width + j])
            {
                case Insert:
                    insertions++;
                    j--;
                    break;
                case Delete:
                    deletions++;
                    i--;
                    break;
                default:
                    i--;
                    j--;
                    if (string.Equals(reference[i], hypothesis[j], StringComparison.Ordinal))
                    {
                        correct++;
                    }
                    else
                    {
                        substitutions++;
                    }

                    break;
            }
        }

        return new ErrorCounts(correct, substitutions, deletions, insertions);
    }
}
