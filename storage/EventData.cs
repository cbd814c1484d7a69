using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace Yizhan.Storage;

/// <summary>What an event says. It may be another site's, and a site that was taken over writes what it likes.</summary>
public static class EventData
{
    /// <summary>Reads it.</summary>
    /// <exception cref="JsonException">It is not of that type; <c>null</c> is of none.</exception>
    public static T Read<T>(ReadOnlySpan<byte> data, JsonTypeInfo<T> type) where T : class =>
        JsonSerializer.Deserialize(data, type) ?? throw new JsonException("It is null.");
}
