using System.Buffers;
using System.Buffers.Binary;
using System.Globalization;
using Grpc.Core;
using Yizhan.AiInfer.Engine;
using Yizhan.Platform.Identity;

namespace Yizhan.AiInfer.Protocol;

/// <summary>
/// The same rule for gRPC as for the routes: a token in <c>authorization</c>, a permission at this site, deny by default. It is asked before a byte of the message is
/// read, which an interceptor is not: what nobody may send takes no memory.
/// </summary>
internal sealed class GrpcAccess(InferenceServer server, TokenValidator tokens, string site)
{
    /// <summary>Whether a message is compressed, and its length (gRPC over HTTP/2, "Length-Prefixed-Message").</summary>
    private const int PrefixBytes = 5;

    /// <summary>More than the messages of those methods that anybody may call, which are empty.</summary>
    private const int MaxOpenBytes = 4096;

    private const string Prefix = "Bearer ";

    /// <summary>What each method needs; what is not here, nobody may.</summary>
    internal static readonly IReadOnlyDictionary<string, Permission?> Methods = new Dictionary<string, Permission?>(StringComparer.Ordinal)
    {
        // They say whether the server lives; probes have no token.
        ["ServerLive"] = null,
        ["ServerReady"] = null,
        ["ModelReady"] = Permission.UseModels,
        ["ServerMetadata"] = Permission.UseModels,
        ["ModelMetadata"] = Permission.UseModels,
        ["ModelInfer"] = Permission.UseModels,
        ["ModelStatistics"] = Permission.UseModels,
        ["RepositoryIndex"] = Permission.UseModels,
        ["RepositoryModelLoad"] = Permission.ManageModels,
        ["RepositoryModelUnload"] = Permission.ManageModels,
    };

    /// <summary>In front of the service.</summary>
    public async Task InvokeAsync(HttpContext context, RequestDelegate next)
    {
        if (await RefusalAsync(context) is { } refusal)
        {
            Answer(context, refusal);
            return;
        }

        IDisposable room;
        try
        {
            var announced = await AnnouncedAsync(context);
            if (announced > MaxOpenBytes && context.Request.Headers.Authorization.Count == 0)
            {
                Answer(context, new Status(StatusCode.ResourceExhausted, $"Without a token a message of {announced} bytes is not read; accepted are up to {MaxOpenBytes}."));
                return;
            }

            room = server.Reserve(announced);
        }
        catch (OverloadedException e)
        {
            Answer(context, new Status(StatusCode.ResourceExhausted, e.Message));
            return;
        }

        using (room)
        {
            await next(context);
        }
    }

    private async Task<Status?> RefusalAsync(HttpContext context)
    {
        var path = context.Request.Path.Value ?? "";
        var name = path[(path.LastIndexOf('/') + 1)..];
        if (!Methods.TryGetValue(name, out var needed))
        {
            return new Status(StatusCode.PermissionDenied, $"{name} does not say who may call it, so nobody may.");
        }

        if (needed is not { } permission)
        {
            return null;
        }

        var header = context.Request.Headers.Authorization.ToString();
        if (!header.StartsWith(Prefix, StringComparison.OrdinalIgnoreCase))
        {
            return new Status(StatusCode.Unauthenticated, $"This needs the permission {permission} at site '{site}': send a token (authorization: Bearer …).");
        }

        try
        {
            var (_, caller) = await tokens.CheckAsync(header[Prefix.Length..].Trim(), AiInferModule.Name, context.RequestAborted);
            return caller.May(permission, site) ? null : new Status(
                StatusCode.PermissionDenied, $"This needs the permission {permission} at site '{site}', which these roles have: {string.Join(", ", Roles.With(permission))}.");
        }
        catch (TokenRefusedException e)
        {
            return new Status(StatusCode.Unauthenticated, e.Message);
        }
    }

    /// <summary>What the message will take, as its prefix says; what is compressed may become as large as any.</summary>
    private async Task<long> AnnouncedAsync(HttpContext context)
    {
        var body = context.Request.BodyReader;
        var read = await body.ReadAtLeastAsync(PrefixBytes, context.RequestAborted);
        long announced = 0;
        if (read.Buffer.Length >= PrefixBytes)
        {
            var prefix = read.Buffer.Slice(0, PrefixBytes).ToArray();
            announced = prefix[0] == 0 ? BinaryPrimitives.ReadUInt32BigEndian(prefix.AsSpan(1)) : server.MaxRequestBytes;
        }

        // Looked at, not taken: the service reads from the beginning. More than is accepted it refuses itself, without reading it.
        body.AdvanceTo(read.Buffer.Start);
        return Math.Min(announced, server.MaxRequestBytes);
    }

    private static void Answer(HttpContext context, Status status)
    {
        context.Response.ContentType = "application/grpc";
        context.Response.Headers["grpc-status"] = ((int)status.StatusCode).ToString(CultureInfo.InvariantCulture);
        context.Response.Headers["grpc-message"] = Uri.EscapeDataString(status.Detail);
    }
}
