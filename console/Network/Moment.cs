namespace Yizhan.Console.Network;

/// <summary>The moment that a page shows: all its ages are relative to the same one.</summary>
/// <param name="Now">By the clock of the console.</param>
/// <param name="Zone">Of the one who looks; UTC until the browser has said it.</param>
public sealed record Moment(DateTimeOffset Now, TimeZoneInfo Zone);
