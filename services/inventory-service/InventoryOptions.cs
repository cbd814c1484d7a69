using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;
using Yizhan.Inventory.Collect;

namespace Yizhan.Inventory;

/// <summary>Settings of the inventory. Section <c>inventory</c>.</summary>
public sealed class InventoryOptions
{
    /// <summary>How far ahead of this node's clock a report may be, in minutes. Default 5; what is later is refused.</summary>
    [Range(0, 1440)]
    public int FutureMinutes { get; set; } = 5;

    /// <summary>Longest run of a source, in minutes; one that takes longer has failed. Default 30.</summary>
    [Range(1, 720)]
    public int MaxRunMinutes { get; set; } = 30;

    /// <summary>Where stock and equipment are collected at this site. The node itself always is a source named <c>node</c>.</summary>
    public SourceOptions[] Sources { get; set; } = [];
}

[OptionsValidator]
internal sealed partial class InventoryOptionsRanges : IValidateOptions<InventoryOptions>;

internal sealed class InventoryOptionsValidator : IValidateOptions<InventoryOptions>
{
    public ValidateOptionsResult Validate(string? name, InventoryOptions options)
    {
        for (var i = 0; i < options.Sources.Length; i++)
        {
            if (options.Sources[i].Problem() is { } problem)
            {
                return ValidateOptionsResult.Fail($"inventory:sources:{i}{problem}");
            }

            if (options.Sources[..i].Any(other => other.Name == options.Sources[i].Name))
            {
                return ValidateOptionsResult.Fail($"inventory:sources:{i}:name is '{options.Sources[i].Name}' a second time; accepted: each once.");
            }
        }

        return new InventoryOptionsRanges().Validate(name, options);
    }
}
