using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;

namespace Yizhan.Platform;

/// <summary>What a process needs to know about the node it is part of. Section <c>node</c>.</summary>
public sealed class NodeOptions
{
    internal const string SiteIdPattern = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";

    /// <summary>Site of this node: 1 to 63 of <c>a-z 0-9 -</c>, as a DNS label. Default <c>centre</c>.</summary>
    [Required]
    [RegularExpression(SiteIdPattern,
        ErrorMessage = "node:siteId must be 1 to 63 characters of a-z, 0-9 and '-', not starting or ending with '-'.")]
    public string SiteId { get; set; } = "centre";

    /// <summary>Folder for everything that this node keeps. Created when missing. Default <c>data</c>.</summary>
    [Required]
    public string DataFolder { get; set; } = "data";

    /// <summary>A path below <see cref="DataFolder"/>; its folder exists afterwards.</summary>
    public string PathOf(params ReadOnlySpan<string> parts)
    {
        var path = Path.GetFullPath(Path.Combine([DataFolder, .. parts]));
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        return path;
    }
}

[OptionsValidator]
internal sealed partial class NodeOptionsValidator : IValidateOptions<NodeOptions>;
