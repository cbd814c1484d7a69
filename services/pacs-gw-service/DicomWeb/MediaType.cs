namespace Yizhan.PacsGw.DicomWeb;

/// <summary>
/// A media type with parameters (RFC 9110 §8.3.1). Values with a slash need quotes there, and Orthanc, OHIF and others send
/// <c>type=application/dicom</c> without: it is read as it is meant.
/// </summary>
/// <param name="Type">In lower case, such as <c>multipart/related</c>.</param>
/// <param name="Parameters">By name without regard to case; values without quotes.</param>
internal sealed record MediaType(string Type, IReadOnlyDictionary<string, string> Parameters)
{
    /// <summary>A parameter; null when it is not there.</summary>
    public string? this[string parameter] => Parameters.GetValueOrDefault(parameter);

    /// <summary>One media type; null when there is none.</summary>
    public static MediaType? Parse(string? text)
    {
        var parts = Split(text ?? "", ';');
        var type = parts[0].ToLowerInvariant();
        if (type.Count(c => c == '/') != 1 || type.StartsWith('/') || type.EndsWith('/') || type.AsSpan().ContainsAny(" \t\""))
        {
            return null;
        }

        var parameters = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        foreach (var part in parts.Skip(1))
        {
            if (part.IndexOf('=', StringComparison.Ordinal) is > 0 and var equals)
            {
                parameters.TryAdd(part[..equals].Trim(), Unquote(part[(equals + 1)..].Trim()));
            }
        }

        return new MediaType(type, parameters);
    }

    /// <summary>The media types of a list; what is none is left out.</summary>
    public static IEnumerable<MediaType> ParseList(string text) => Split(text, ',').Select(Parse).OfType<MediaType>();

    private static string Unquote(string value) =>
        value is ['"', .., '"'] && value.Length > 1 ? value[1..^1].Replace("\\", "", StringComparison.Ordinal) : value;

    private static List<string> Split(string text, char separator)
    {
        var parts = new List<string>();
        var (start, quoted) = (0, false);
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] == '\\' && quoted)
            {
                i++;
            }
            else if (text[i] == '"')
            {
                quoted = !quoted;
            }
            else if (text[i] == separator && !quoted)
            {
                parts.Add(text[start..i].Trim());
                start = i + 1;
            }
        }

        parts.Add(text[start..].Trim());
        return parts;
    }
}
