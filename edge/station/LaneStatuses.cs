using Yizhan.Contracts;
using Yizhan.Storage;

namespace Yizhan.Station;

internal static class LaneStatuses
{
    private static readonly string[] Names = ["urgent", "normal", "bulk", "telemetry"];

    /// <summary>A lane as it is reported.</summary>
    public static LaneStatus Of(IEventLog log, Lane lane)
    {
        var usage = log.Usage(lane);
        return new LaneStatus(Names[(int)lane], usage.Entries, usage.Bytes, usage.OldestMs, usage.RoomBytes);
    }
}
