namespace Yizhan.OpenInference;

/// <summary>A request is not what the protocol says. The message names what was received and what would be accepted; answer 400 or INVALID_ARGUMENT.</summary>
public sealed class InferenceFormatException(string message, Exception? inner = null) : FormatException(message, inner);
