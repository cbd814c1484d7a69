namespace Yizhan.PacsGw.Codecs;

/// <summary>Pixel data cannot be decoded or encoded. The message names what was found and has no patient data.</summary>
internal sealed class CodecException(string message) : Exception(message);
