using System.Globalization;
using Yizhan.Contracts;

namespace Yizhan.Inventory.Ledger;

/// <summary>What the definition of an item must be. Messages name the value and what would be accepted.</summary>
internal static class ItemRules
{
    private const int MaxText = 100;
    private const int MaxList = 50;
    private static readonly string[] Categories = ["consumable", "drug", "reagent"];

    /// <summary>What is wrong; null when nothing is.</summary>
    public static string? ProblemOf(ItemDefinition item) =>
        Text("code", item.Code) ?? Text("name", item.Name) ?? Text("unit", item.Unit)
        ?? (Categories.Contains(item.Category) ? null : $"category is '{item.Category}'; accepted: {string.Join(", ", Categories)}.")
        ?? (item.LeadDays is >= 0 and <= 1000 ? null : $"leadDays is {item.LeadDays}; accepted: 0 to 1000.")
        ?? (item.ReorderPoint is not { } point || (point >= 0 && Thousandths.TryOf(point, out _)) ? null
            : string.Create(CultureInfo.InvariantCulture, $"reorderPoint is {point}; accepted: from 0, with up to three decimals."))
        ?? (item.Units is { Count: > MaxList } ? $"units has {item.Units.Count} entries; accepted: up to {MaxList}." : null)
        ?? item.Units?.Select(u => Unit(u.Key, u.Value, item.Unit)).FirstOrDefault(p => p is not null)
        ?? (item.Codes is { Count: > MaxList } ? $"codes has {item.Codes.Count} entries; accepted: up to {MaxList}." : null)
        ?? item.Codes?.Select(c => Text("codes", c)).FirstOrDefault(p => p is not null);

    private static string? Unit(string name, decimal factor, string baseUnit) =>
        Text("units", name)
        ?? (name == baseUnit ? $"units names the base unit '{name}' again." : null)
        ?? (factor is > 0 and <= 1_000_000_000 ? null : string.Create(CultureInfo.InvariantCulture, $"one {name} is {factor} {baseUnit}; accepted: more than 0, up to 1000000000."));

    private static string? Text(string name, string value) => value.Length is 0 or > MaxText ? $"{name} has {value.Length} characters; accepted: 1 to {MaxText}." : null;
}
