using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;

namespace Yizhan.Inventory;

/// <summary>Settings of the inventory. Section <c>inventory</c>.</summary>
public sealed class InventoryOptions
{
    /// <summary>How far ahead of this node's clock a report may be, in minutes. Default 5; what is later is refused.</summary>
    [Range(0, 1440)]
    public int FutureMinutes { get; set; } = 5;
}

[OptionsValidator]
internal sealed partial class InventoryOptionsValidator : IValidateOptions<InventoryOptions>;
