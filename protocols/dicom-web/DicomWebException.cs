using System.Net;

namespace Yizhan.DicomWeb;

/// <summary>A server refused, or answered what PS3.18 does not allow.</summary>
/// <param name="status">Its status; null when the answer itself is what is wrong.</param>
/// <param name="message">What happened, without the values that were searched for.</param>
public sealed class DicomWebException(HttpStatusCode? status, string message) : Exception(message)
{
    /// <summary>The server's status; null when the answer itself is what is wrong.</summary>
    public HttpStatusCode? Status { get; } = status;
}
