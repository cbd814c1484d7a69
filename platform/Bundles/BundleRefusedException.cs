namespace Yizhan.Platform.Bundles;

/// <summary>A bundle is not taken; the message is the reason for people, and names what would be accepted.</summary>
public sealed class BundleRefusedException(string message, Exception? inner = null) : Exception(message, inner);
