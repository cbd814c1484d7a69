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

    /// <summary>
    /// True: of several processes with this setting and one data folder, the first leads and the others wait for its lease (<c>docs/adr/0130</c>). Each has a <c>web:url</c> of its own.
    /// </summary>
    public bool Standby { get; set; }

    /// <summary>After so many seconds without a sign of life a leader on the same machine is ended by who waits: 5 to 3600. Default 15.</summary>
    [Range(5, 3600)]
    public int StandbyStallSeconds { get; set; } = 15;

    /// <summary>A path below <see cref="DataFolder"/>; its folder exists afterwards.</summary>
    public string PathOf(params ReadOnlySpan<string> parts)
    {
        var path = Path.GetFullPath(Path.Combine([DataFolder, .. parts]));
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        return path;
    }

    /// <summary>
    /// Makes the data folder, for its owner only: indexes and queues have patients' names in them. From one that a node made before, what others may is
    /// taken away, as far as this process may do that; a folder in which no node was is whoever made it's own.
    /// </summary>
    internal void CloseDataFolder()
    {
        const UnixFileMode Owner = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
        const UnixFileMode Others = UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.OtherExecute;
        if (OperatingSystem.IsWindows())
        {
            return;
        }

        if (!Directory.Exists(DataFolder))
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(DataFolder))!);
            Directory.CreateDirectory(DataFolder, Owner);
        }
        else if (File.GetUnixFileMode(DataFolder) is var mode && (mode & Others) != 0 && Directory.Exists(Path.Combine(DataFolder, "identity")))
        {
            try
            {
                File.SetUnixFileMode(DataFolder, mode & ~Others);
            }
            catch (UnauthorizedAccessException)
            {
                // A volume that belongs to whoever mounted it.
            }
        }
    }
}

[OptionsValidator]
internal sealed partial class NodeOptionsValidator : IValidateOptions<NodeOptions>;
