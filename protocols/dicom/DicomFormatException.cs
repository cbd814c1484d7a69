namespace Yizhan.Dicom;

/// <summary>The bytes are not a data set or file as PS3.5 and PS3.10 define it; says what is wrong and where.</summary>
public sealed class DicomFormatException : FormatException
{
    /// <summary>A failure at a byte offset of the stream that was read.</summary>
    public DicomFormatException(string message, long offset, DicomTag? tag = null)
        : base($"{message} (at byte {offset}{(tag is { } t ? $", element {t}" : "")})")
    {
        Offset = offset;
        Tag = tag;
        Reason = message;
    }

    /// <summary>Offset in bytes from the start of what was read; for deflated data sets, of the inflated bytes.</summary>
    public long Offset { get; }

    /// <summary>The element that was being read, if any.</summary>
    public DicomTag? Tag { get; }

    /// <summary>What is wrong, without the position. Never contains a value of an element.</summary>
    public string Reason { get; }
}

/// <summary>Something that departs from the standard but has one meaning only, so it was read.</summary>
/// <param name="Message">What departs; never contains a value of an element.</param>
/// <param name="Offset">Offset in bytes from the start of what was read.</param>
/// <param name="Tag">The element.</param>
public readonly record struct DicomWarning(string Message, long Offset, DicomTag Tag)
{
    /// <inheritdoc/>
    public override string ToString() => $"{Message} (at byte {Offset}, element {Tag})";
}

/// <summary>Bounds on what is read, so that no input can exhaust memory or stack.</summary>
public sealed record DicomLimits
{
    /// <summary>The bounds used when none are given.</summary>
    public static DicomLimits Default { get; } = new();

    /// <summary>Deepest nesting of sequences. Default 64; real data sets stay below 16.</summary>
    public int MaxDepth { get; init; } = 64;

    /// <summary>Most elements, items and fragments that a parsed data set may hold. Default 4 million.</summary>
    public int MaxElements { get; init; } = 4_000_000;

    /// <summary>Most bytes a deflated data set may inflate to. Default 1 GiB; when parsing in memory this much may be allocated.</summary>
    public long MaxInflatedBytes { get; init; } = 1L << 30;

    /// <summary>Most warnings that are kept; more are only counted. Default 32.</summary>
    public int MaxWarnings { get; init; } = 32;
}
