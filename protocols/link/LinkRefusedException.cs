namespace Yizhan.Link;

/// <summary>
/// The centre answered, and the answer is no. Its intake throws this and the site's end of the link throws it again, so that
/// the same decision is taken with HTTP between the two or without.
/// </summary>
public sealed class LinkRefusedException(LinkProblem problem) : Exception($"{problem.Status} {problem.Title} {problem.Detail}".TrimEnd())
{
    /// <summary>What was said.</summary>
    public LinkProblem Problem { get; } = problem;
}
