using Microsoft.Extensions.Options;
using Yizhan.PacsGw.Deidentify;
using Yizhan.PacsGw.Peers;
using Yizhan.Platform;

namespace Yizhan.PacsGw.Rules;

/// <summary>The rules of this node, read once at its start, and what makes their copies.</summary>
internal sealed class RuleBook
{
    /// <param name="options">Names the file; none: no rules.</param>
    /// <param name="node">Names the system that changes attributes.</param>
    /// <param name="projects">Keys of the projects.</param>
    /// <param name="peers">The peers that destinations may be.</param>
    /// <param name="clock">Says when attributes were changed.</param>
    /// <exception cref="SettingException">The file is wrong; the message has file and line. The node does not start.</exception>
    public RuleBook(IOptions<PacsGwOptions> options, IOptions<NodeOptions> node, ProjectKeys projects, PeerDirectory peers, TimeProvider clock)
    {
        Rules = options.Value.RulesFile is { } path ? RuleFile.Read(path) : RuleSet.Empty;
        foreach (var destination in Rules.Destinations.Values.Where(d => d is { Url: null, Host: null }))
        {
            if (peers.Callable(destination.AeTitle!) is null)
            {
                throw new SettingException(
                    $"{options.Value.RulesFile}: the destination '{destination.Name}' is peer '{destination.AeTitle}', and pacs-gw:peers has none of that AE title with a host.");
            }
        }

        Copies = new CopyMaker(Rules, projects.Of, $"YIZHAN {node.Value.SiteId}", clock);
    }

    /// <summary>The rules.</summary>
    public RuleSet Rules { get; }

    /// <summary>Makes what they send.</summary>
    public CopyMaker Copies { get; }
}
