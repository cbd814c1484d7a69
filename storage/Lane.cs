namespace Yizhan.Storage;

/// <summary>Priority of an entry on the link. A lower value leaves first; each lane has its own gapless sequence.</summary>
public enum Lane : byte
{
    /// <summary>Critical findings and break-glass audit. Always first.</summary>
    Urgent = 0,

    /// <summary>Results, notes, orders, audit, inventory.</summary>
    Normal = 1,

    /// <summary>Images and audio: entries that reference large blobs.</summary>
    Bulk = 2,

    /// <summary>Logs and metrics. The only lane whose entries may expire.</summary>
    Telemetry = 3,
}
