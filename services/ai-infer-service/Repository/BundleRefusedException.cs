namespace Yizhan.AiInfer.Repository;

/// <summary>A bundle is not taken; the message is the reason for people, and names what would be accepted.</summary>
internal sealed class BundleRefusedException(string message, Exception? inner = null) : Exception(message, inner);
