using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Platform.Releases;

namespace Yizhan.Station.Configuration;

/// <summary>The pair of configurations of this site, and what of it runs in this process.</summary>
internal sealed class SiteConfiguration
{
    public SiteConfiguration(IOptions<NodeOptions> node)
    {
        Slots = ConfigurationSlots.Open(node.Value);
        Runs = Slots.State.Active;
    }

    public ConfigurationSlots Slots { get; }

    /// <summary>What this process was started with; what was installed meanwhile runs after a restart.</summary>
    public Slot? Runs { get; }

    /// <summary>What the centre is told.</summary>
    public ConfigurationStatus Status()
    {
        var state = Slots.State;
        return new(Runs?.Version, Runs?.Digest, Runs is not null && Runs != state.Good, state.Refused?.Digest, state.Refused?.Reason);
    }
}
