using System.Text.RegularExpressions;
using Yizhan.Dicom;

namespace Yizhan.PacsGw.Rules;

/// <summary>What a rule may ask about an instance.</summary>
/// <param name="CallingAeTitle">Who sent it.</param>
/// <param name="CalledAeTitle">Whom it was sent to.</param>
/// <param name="Dataset">Its top-level attributes.</param>
internal sealed record RuleSubject(string CallingAeTitle, string CalledAeTitle, DicomDataset Dataset);

/// <summary>A copy that is to be sent.</summary>
/// <param name="Rule">The rule that says so.</param>
/// <param name="Destination">Where to.</param>
internal sealed record RuledRoute(Rule Rule, string Destination);

/// <summary>How a rule was looked at.</summary>
/// <param name="Rule">The rule.</param>
/// <param name="Mismatch">The first condition that does not hold, in words without values of the data set; null when it applies.</param>
internal sealed record RuleStep(Rule Rule, string? Mismatch);

/// <summary>What the rules say about one instance.</summary>
/// <param name="Rejection">The rule that refuses it; null when none does.</param>
/// <param name="Routes">The copies to send.</param>
/// <param name="Pinned">The first rule that keeps it from retention; null when none does.</param>
/// <param name="Steps">Every rule that was looked at, in order.</param>
internal sealed record RuleDecision(Rule? Rejection, IReadOnlyList<RuledRoute> Routes, Rule? Pinned, IReadOnlyList<RuleStep> Steps);

/// <summary>Applies rules. Pure: the same rules and instance give the same decision.</summary>
internal static partial class RuleEngine
{
    /// <summary>Goes through the rules in order, to the first that rejects or stops.</summary>
    public static RuleDecision Decide(RuleSet rules, RuleSubject subject)
    {
        var steps = new List<RuleStep>();
        var routes = new List<RuledRoute>();
        Rule? pinned = null;
        foreach (var rule in rules.Rules)
        {
            var mismatch = rule.When.Select(condition => Mismatch(condition, subject)).FirstOrDefault(m => m is not null);
            steps.Add(new RuleStep(rule, mismatch));
            if (mismatch is not null)
            {
                continue;
            }

            if (rule.Reject is not null)
            {
                return new RuleDecision(rule, [], null, steps);
            }

            pinned ??= rule.Pin ? rule : null;
            routes.AddRange(rule.Routes.Select(destination => new RuledRoute(rule, destination)));
            if (rule.Stop)
            {
                break;
            }
        }

        return new RuleDecision(null, routes, pinned, steps);
    }

    /// <summary>The coercions that a rule's copies get: those of each rule before it that applies, then its own. A later value wins.</summary>
    public static IReadOnlyList<CoercedAttribute> CoercionsFor(RuleDecision decision, Rule rule) =>
    [
        .. decision.Steps.TakeWhile(s => s.Rule != rule).Where(s => s.Mismatch is null).SelectMany(s => s.Rule.Coerce)
            .Concat(rule.Coerce)
            .GroupBy(c => c.Tag)
            .Select(g => g.Last()),
    ];

    private static string? Mismatch(Condition condition, RuleSubject subject)
    {
        var values = condition.Tag is { } tag ? [.. subject.Dataset.GetStrings(tag).Select(v => v.Trim())]
            : (IReadOnlyList<string>)[condition.What == "peer" ? subject.CallingAeTitle : subject.CalledAeTitle];
        if (values.Count == 0 || values.All(v => v.Length == 0))
        {
            values = [""];
        }

        return condition.Patterns.Any(pattern => values.Any(value => Matches(pattern, value)))
            ? null
            : $"{condition.What} is not {string.Join(" or ", condition.Patterns.Select(p => p.Length == 0 ? "empty" : $"'{p}'"))}";
    }

    private static bool Matches(string pattern, string value) => pattern.StartsWith('!')
        ? !Matches(pattern[1..], value)
        : pattern == "*" ? value.Length > 0
        : Regex.IsMatch(
            value,
            "^" + Regex.Escape(pattern).Replace("\\*", ".*", StringComparison.Ordinal).Replace("\\?", ".", StringComparison.Ordinal) + "$",
            RegexOptions.IgnoreCase | RegexOptions.CultureInvariant | RegexOptions.Singleline | RegexOptions.NonBacktracking);
}
