using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Nodes;
using Yizhan.Platform.Identity;

namespace Yizhan.Cli;

/// <summary>
/// The token that a command sends: the file of <c>--token</c> or of YIZHAN_TOKEN_FILE; else that of <c>yizhan login</c> for this
/// address; else that of a node's operator below <c>.yizhan</c>, if it is the token of the node at this address.
/// </summary>
internal static class Tokens
{
    private const int MaxFiles = 64;

    /// <summary>Every command has it.</summary>
    public static readonly Option<FileInfo?> File = new("--token")
    {
        Description = "File with the token to send. Default: YIZHAN_TOKEN_FILE, then that of yizhan login, then the operator's of a node below .yizhan.",
        Recursive = true,
    };

    private static FileInfo? s_given;

    /// <summary>Remembers what the command line says; once, before any command runs.</summary>
    public static void Read(ParseResult parsed) => s_given = parsed.GetValue(File);

    /// <summary>A client of a node that sends the token, if there is one.</summary>
    public static HttpClient Client(Uri node, HttpMessageHandler? inner = null) =>
        new(new OperatorTokenHandler(() => Find(node), inner ?? new SocketsHttpHandler { UseProxy = false, ConnectTimeout = TimeSpan.FromSeconds(5) }))
        {
            BaseAddress = node,
        };

    /// <summary>
    /// A client of a server that may be anybody's: it is sent the file of <c>--token</c> or a token that was made for its address, never that of
    /// YIZHAN_TOKEN_FILE, which is meant for nodes; and it cannot send us on to somebody else.
    /// </summary>
    public static HttpClient ClientOfAny(Uri server) =>
        new(new OperatorTokenHandler(
            () => s_given is { } file ? OperatorTokenHandler.Read(file.FullName) ?? throw new IOException($"The token file {file} does not exist.")
                : OperatorTokenHandler.Read(SavedPath(server)) ?? OfLocalNode(server),
            new SocketsHttpHandler { UseProxy = false, AllowAutoRedirect = false, ConnectTimeout = TimeSpan.FromSeconds(5) }))
        {
            BaseAddress = server,
        };

    /// <summary>Where the token of a sign-in at an address is kept.</summary>
    public static string SavedPath(Uri node) => Path.Combine(
        Environment.GetFolderPath(Environment.SpecialFolder.ApplicationData, Environment.SpecialFolderOption.DoNotVerify), "yizhan", "tokens", $"{node.Host}_{node.Port}");

    private static string? Find(Uri node)
    {
        if ((s_given?.FullName ?? Environment.GetEnvironmentVariable("YIZHAN_TOKEN_FILE")) is { Length: > 0 } path)
        {
            return OperatorTokenHandler.Read(path) ?? throw new IOException($"The token file {path} does not exist.");
        }

        return OperatorTokenHandler.Read(SavedPath(node)) ?? OfLocalNode(node);
    }

    /// <summary>A token says where its node listens: it is not sent to anybody else.</summary>
    private static string? OfLocalNode(Uri node)
    {
        if (!Directory.Exists(".yizhan"))
        {
            return null;
        }

        var options = new EnumerationOptions { RecurseSubdirectories = true, MaxRecursionDepth = 4, IgnoreInaccessible = true };
        return Directory.EnumerateFiles(".yizhan", "operator.token", options).Take(MaxFiles).Select(OperatorTokenHandler.Read)
            .FirstOrDefault(token => token is not null && NodeOf(token) is { } of && of.Port == node.Port && of.IsLoopback && node.IsLoopback);
    }

    private static Uri? NodeOf(string token)
    {
        try
        {
            var payload = token.Split('.') is [_, var middle, _] ? System.Buffers.Text.Base64Url.DecodeFromChars(middle) : [];
            return Uri.TryCreate(JsonNode.Parse(payload)?["node"]?.ToString(), UriKind.Absolute, out var node) ? node : null;
        }
        catch (Exception e) when (e is JsonException or FormatException)
        {
            return null;
        }
    }
}
