using Yizhan.Platform.Identity;

namespace Yizhan;

/// <summary>Clients of a node that runs in the test's process, as somebody on its machine. Linked into the test projects that ask one.</summary>
internal static class Operator
{
    /// <summary>A client with the node's own operator token.</summary>
    /// <param name="app">The node, started.</param>
    /// <param name="path">What addresses are relative to.</param>
    /// <param name="inner">What sends; null for the usual.</param>
    public static HttpClient Client(Microsoft.AspNetCore.Builder.WebApplication app, string path = "/", HttpMessageHandler? inner = null) => new(
        new OperatorTokenHandler(((LocalOperator)app.Services.GetService(typeof(LocalOperator))!).Token, inner ?? new SocketsHttpHandler { UseProxy = false }))
    {
        BaseAddress = new Uri(new Uri(app.Urls.First()), path),

        // The usual hundred seconds are less than a busy machine may take for a large model or a long recording.
        Timeout = TimeSpan.FromMinutes(10),
    };
}
