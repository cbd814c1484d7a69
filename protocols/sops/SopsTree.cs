namespace Yizhan.Sops;

/// <summary>Which format a file has; SOPS goes by the extension.</summary>
public enum SopsFormat
{
    /// <summary>.yaml, .yml</summary>
    Yaml,

    /// <summary>.json</summary>
    Json,

    /// <summary>.env</summary>
    Dotenv,
}

/// <summary>A value and where it stands: the keys from the top; elements of lists have the path of their list.</summary>
internal sealed record SopsLeaf(IReadOnlyList<string> Path, SopsValue Value)
{
    /// <summary>The additional data of its encryption.</summary>
    public string Aad => string.Join(':', Path) + ":";
}

/// <summary>A file as SOPS sees it: its values in their order, and the text around them.</summary>
internal abstract class SopsTree
{
    /// <summary>Values in the order of the file, without the block <c>sops</c>.</summary>
    public abstract IReadOnlyList<SopsLeaf> Leaves { get; }

    /// <summary>The block <c>sops</c>; null in a plain file.</summary>
    public abstract SopsMetadata? Metadata { get; }

    /// <summary>The file with other values and another block.</summary>
    public abstract string Render(IReadOnlyList<SopsValue> values, SopsMetadata? metadata);

    /// <summary>Reads a file.</summary>
    /// <exception cref="SopsException">It is not of the format.</exception>
    public static SopsTree Parse(string text, SopsFormat format) => format switch
    {
        SopsFormat.Yaml => new SopsYaml(text),
        SopsFormat.Json => new SopsJson(text),
        _ => new SopsDotenv(text),
    };
}
