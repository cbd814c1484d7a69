namespace Yizhan.Transcripts;

/// <summary>What an alignment counted, over one utterance or many. Pooled: counts are added first, then divided (as sclite and jiwer do).</summary>
/// <param name="Correct">Tokens that are equal.</param>
/// <param name="Substitutions">Tokens of the reference that something else stands for.</param>
/// <param name="Deletions">Tokens of the reference that are missing.</param>
/// <param name="Insertions">Tokens that the reference does not have.</param>
public readonly record struct ErrorCounts(long Correct, long Substitutions, long Deletions, long Insertions)
{
    /// <summary>Tokens of the reference.</summary>
    public long Reference => Correct + Substitutions + Deletions;

    /// <summary>Substitutions, deletions and insertions.</summary>
    public long Errors => Substitutions + Deletions + Insertions;

    /// <summary>
    /// Errors for each token of the reference; above 1 when more was inserted than there is. Without a reference it is the number of insertions, so
    /// that text for silence is not free (jiwer 4 does the same).
    /// </summary>
    public double Rate => Reference == 0 ? Insertions : (double)Errors / Reference;

    /// <summary>
    /// The lower end of the interval of 95 % for the rate (Wilson's score with z = 1.96, the rate taken as at most 1): what the alert on the error rate
    /// compares with its threshold, so that a few unlucky words wake nobody.
    /// </summary>
    public double LowerBound
    {
        get
        {
            if (Reference == 0)
            {
                return 0;
            }

            const double Z = 1.96;
            double n = Reference, p = Math.Min(1, Errors / n);
            return Math.Max(0, (p + Z * Z / (2 * n) - Z * Math.Sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))) / (1 + Z * Z / n));
        }
    }

    /// <summary>Both together.</summary>
    public static ErrorCounts operator +(ErrorCounts a, ErrorCounts b) =>
        new(a.Correct + b.Correct, a.Substitutions + b.Substitutions, a.Deletions + b.Deletions, a.Insertions + b.Insertions);

    /// <inheritdoc cref="op_Addition"/>
    public static ErrorCounts Add(ErrorCounts a, ErrorCounts b) => a + b;
}
