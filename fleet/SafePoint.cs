using Microsoft.Extensions.Options;
using Yizhan.Storage;

namespace Yizhan.Fleet;

/// <summary>
/// What a backup of this centre covers of each site's lanes. Sites keep what it does not cover, so that a centre that was restored from the backup can get
/// the rest again.
/// </summary>
public sealed class SafePoint(LogMaintenance maintenance, IOptions<FleetOptions> options)
{
    /// <summary>One sequence for each lane, urgent first; null when <c>fleet:safePoint</c> makes no such promise.</summary>
    public IReadOnlyList<long>? Of(string site, Guid epoch)
    {
        if (options.Value.SafePoint == "confirmed")
        {
            return null;
        }

        var covered = maintenance.LastBackup?.Marks.Where(m => m.Site == site && m.Epoch == epoch).ToDictionary(m => m.Lane, m => m.Sequence);
        return [.. Enum.GetValues<Lane>().Select(lane => covered?.GetValueOrDefault(lane) ?? 0)];
    }
}
