namespace Yizhan.Gs1;

/// <summary>A scan that is not a valid element string; the text names the value and what is accepted.</summary>
/// <param name="message">A sentence for whoever holds the scanner.</param>
/// <param name="applicationIdentifier">Which element is wrong; empty when it is the whole scan.</param>
public sealed class Gs1Exception(string message, string applicationIdentifier = "") : Exception(message)
{
    /// <summary>Which element is wrong; empty when it is the whole scan.</summary>
    public string ApplicationIdentifier { get; } = applicationIdentifier;
}
