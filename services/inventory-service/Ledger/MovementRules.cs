using System.Globalization;
using Yizhan.Contracts;

namespace Yizhan.Inventory.Ledger;

/// <summary>What a batch must be before the ledger looks at it. Messages name the value and what would be accepted.</summary>
internal static class MovementRules
{
    /// <summary>Most movements of one batch: it is one entry of the event log.</summary>
    public const int MaxMovements = 2000;

    private const int MaxText = 100;

    // A clock that was never set says 1970; nothing that lies before this has a lot in a store.
    private const long EarliestMs = 946_684_800_000;

    private static readonly string[] Kinds = [.. Enum.GetNames<MovementKind>().Select(name => name.ToLowerInvariant())];

    /// <summary>What is wrong with a batch; null when nothing is. The time is the latest that a movement may have.</summary>
    public static string? ProblemOf(MovementBatch batch, long latestMs)
    {
        if ((Text("batchId", batch.BatchId, 1) ?? Text("source", batch.Source, 1) ?? Text("actor", batch.Actor, 1)) is { } wrong)
        {
            return wrong;
        }

        if (batch.Movements.Count is 0 or > MaxMovements)
        {
            return $"The batch has {batch.Movements.Count} movements; accepted: 1 to {MaxMovements}.";
        }

        if (batch.Count is { } count && count != batch.Movements.Count)
        {
            return $"The batch has {batch.Movements.Count} movements and says that it has {count}: a part is missing, and nothing was recorded.";
        }

        for (var i = 0; i < batch.Movements.Count; i++)
        {
            if (batch.Movements[i] is not { } movement || ProblemOf(movement, latestMs) is not null)
            {
                return $"movements[{i}]: {(batch.Movements[i] is { } m ? ProblemOf(m, latestMs) : "is null.")}";
            }
        }

        return null;
    }

    /// <summary>The kind that a name means.</summary>
    public static MovementKind KindOf(string kind) => (MovementKind)(Array.IndexOf(Kinds, kind) + 1);

    /// <summary>The name of a kind.</summary>
    public static string NameOf(MovementKind kind) => Kinds[(int)kind - 1];

    private static string? ProblemOf(Movement m, long latestMs)
    {
        if (!Kinds.Contains(m.Kind))
        {
            return $"kind is '{m.Kind}'; accepted: {string.Join(", ", Kinds)}.";
        }

        var kind = KindOf(m.Kind);
        return Text("item", m.Item, 1) ?? Text("unit", m.Unit, 0) ?? Text("lot", m.Lot, 0) ?? Text("location", m.Location, 0) ?? Text("toLocation", m.ToLocation, 0)
            ?? Text("toSite", m.ToSite, 0) ?? Text("patientId", m.PatientId, 0) ?? Text("studyInstanceUid", m.StudyInstanceUid, 0) ?? Text("reference", m.Reference, 0)
            ?? (IsDay(m.Expiry) ? null : $"expiry is '{m.Expiry}'; accepted: YYYY-MM-DD or nothing.")
            ?? (m.EffectiveMs > latestMs ? $"effectiveMs is {m.EffectiveMs} ({Moment(m.EffectiveMs)}), which lies in the future; the clock here says {Moment(latestMs)} at the latest."
                : m.EffectiveMs < EarliestMs ? $"effectiveMs is {m.EffectiveMs}; accepted: milliseconds since 1970, from {EarliestMs} (the year 2000)."
                : null)
            ?? Quantity(kind, m.Quantity)
            ?? (kind == MovementKind.Transfer ? Destination(m)
                : m.ToLocation.Length + m.ToSite.Length > 0 ? $"toLocation and toSite belong to a transfer, not to '{m.Kind}'." : null)
            ?? (kind != MovementKind.Issue && m.PatientId.Length + m.StudyInstanceUid.Length > 0 ? $"patientId and studyInstanceUid belong to an issue, not to '{m.Kind}'." : null)
            ?? (kind == MovementKind.Recall && m.Lot.Length == 0 ? "a recall needs the lot." : null);
    }

    private static string? Destination(Movement m) =>
        m.ToSite.Length > 0 == m.ToLocation.Length > 0 && m.ToSite.Length > 0 ? "a transfer has toLocation or toSite, not both."
        : m.ToSite.Length == 0 && m.ToLocation == m.Location ? $"a transfer from '{m.Location}' needs another toLocation, or toSite."
        : null;

    private static string? Quantity(MovementKind kind, decimal quantity) => kind switch
    {
        MovementKind.Recall when quantity != 0 => $"quantity is {Number(quantity)}; a recall changes no quantity: accepted is 0.",
        MovementKind.Adjust when quantity == 0 => "quantity is 0; an adjustment is positive or negative.",
        MovementKind.Count when quantity < 0 => $"quantity is {Number(quantity)}; a count is 0 or more.",
        MovementKind.Receive or MovementKind.Issue or MovementKind.Transfer or MovementKind.Waste when quantity <= 0 =>
            $"quantity is {Number(quantity)}; accepted: more than 0.",
        _ => Math.Abs(quantity) > Thousandths.Max ? $"quantity is {Number(quantity)}; accepted: up to {Thousandths.Max}." : null,
    };

    private static string? Text(string name, string value, int min) =>
        value.Length < min || value.Length > MaxText ? $"{name} has {value.Length} characters; accepted: {min} to {MaxText}."
        : value.AsSpan().ContainsAnyInRange('\0', '\x1F') ? $"{name} holds a control character."
        : null;

    private static bool IsDay(string text) => text.Length == 0 || DateOnly.TryParseExact(text, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out _);

    private static string Moment(long ms) => ms is > -62_135_596_800_000 and < 253_402_300_800_000
        ? DateTimeOffset.FromUnixTimeMilliseconds(ms).ToString("u", CultureInfo.InvariantCulture)
        : "no time that there is";

    private static string Number(decimal value) => value.ToString(CultureInfo.InvariantCulture);
}
