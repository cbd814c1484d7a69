using System.ComponentModel.DataAnnotations;

namespace Yizhan.Audit.Witness;

/// <summary>A witness that this node asks for cosignatures. Entry of <c>audit:witnesses</c>.</summary>
public sealed class WitnessOptions
{
    /// <summary>Where <c>add-checkpoint</c> is: of another node <c>https://…/audit/witness/</c>.</summary>
    [Required]
    public string Url { get; set; } = "";

    /// <summary>Its key (name+id+base64), as <c>GET /audit/witness/key</c> gives it.</summary>
    [Required]
    public string Key { get; set; } = "";
}
