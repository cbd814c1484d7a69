using System.Diagnostics.CodeAnalysis;

namespace Yizhan.Platform.Identity;

/// <summary>
/// A scope of SMART App Launch 2.2 (<c>user/Observation.rs?category=laboratory</c>): it narrows what the holder's role already
/// allows and never widens it. Version 1 (<c>.read</c>, <c>.write</c>, <c>.*</c>) means <c>.rs</c>, <c>.cud</c>, <c>.cruds</c>.
/// </summary>
/// <param name="Context"><c>patient</c>, <c>user</c> or <c>system</c>.</param>
/// <param name="Resource">A FHIR resource type, or <c>*</c>.</param>
/// <param name="Interactions">Some of the letters c, r, u, d, s, in this order.</param>
/// <param name="Query">Search parameters that narrow it further, without the question mark; empty when there are none.</param>
public sealed record SmartScope(string Context, string Resource, string Interactions, string Query)
{
    private const string Order = "cruds";

    /// <summary>Reads one; false for what is no SMART scope for resources, such as <c>openid</c> or <c>launch/patient</c>.</summary>
    public static bool TryParse(string text, [NotNullWhen(true)] out SmartScope? scope)
    {
        scope = null;
        if (text.Split('/', 2) is not [("patient" or "user" or "system") and var context, var rest])
        {
            return false;
        }

        var (target, query) = rest.Split('?', 2) is [var before, var after] ? (before, after) : (rest, "");
        if (target.Split('.') is not [var resource, var letters] || !IsResource(resource))
        {
            return false;
        }

        var interactions = letters switch { "read" => "rs", "write" => "cud", "*" => Order, _ => letters };
        if (interactions.Length == 0 || !IsInOrder(interactions))
        {
            return false;
        }

        scope = new SmartScope(context, resource, interactions, query);
        return true;
    }

    /// <summary>Whether it allows an interaction (one letter of c, r, u, d, s) with a resource type.</summary>
    /// <remarks>A scope that narrows by search parameters is refused here: what it asks for cannot be promised by a route as a whole.</remarks>
    public bool Allows(string resource, char interaction) =>
        Query.Length == 0 && (Resource == "*" || Resource == resource) && Interactions.Contains(interaction, StringComparison.Ordinal);

    /// <inheritdoc/>
    public override string ToString() => $"{Context}/{Resource}.{Interactions}{(Query.Length > 0 ? "?" + Query : "")}";

    private static bool IsResource(string text) => text == "*" || (text.Length is > 0 and <= 64 && char.IsAsciiLetterUpper(text[0]) && text.All(char.IsAsciiLetter));

    private static bool IsInOrder(string letters)
    {
        var last = -1;
        foreach (var letter in letters)
        {
            var at = Order.IndexOf(letter, StringComparison.Ordinal);
            if (at <= last)
            {
                return false;
            }

            last = at;
        }

        return true;
    }
}
