using Grpc.Core;
using Grpc.Core.Interceptors;
using Yizhan.Platform.Identity;

namespace Yizhan.AiInfer.Protocol;

/// <summary>The same rule for gRPC as for the routes: a token in <c>authorization</c>, a permission at this site, deny by default.</summary>
internal sealed class GrpcAccess(TokenValidator tokens, string site) : Interceptor
{
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

    public override async Task<TResponse> UnaryServerHandler<TRequest, TResponse>(
        TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation)
    {
        await CheckAsync(context);
        return await continuation(request, context);
    }

    public override Task<TResponse> ClientStreamingServerHandler<TRequest, TResponse>(
        IAsyncStreamReader<TRequest> requestStream, ServerCallContext context, ClientStreamingServerMethod<TRequest, TResponse> continuation) => throw NotThere(context);

    public override Task ServerStreamingServerHandler<TRequest, TResponse>(
        TRequest request, IServerStreamWriter<TResponse> responseStream, ServerCallContext context, ServerStreamingServerMethod<TRequest, TResponse> continuation) =>
        throw NotThere(context);

    public override Task DuplexStreamingServerHandler<TRequest, TResponse>(
        IAsyncStreamReader<TRequest> requestStream, IServerStreamWriter<TResponse> responseStream, ServerCallContext context,
        DuplexStreamingServerMethod<TRequest, TResponse> continuation) => throw NotThere(context);

    private async Task CheckAsync(ServerCallContext context)
    {
        if (!Methods.TryGetValue(NameOf(context), out var needed))
        {
            throw NotThere(context);
        }

        if (needed is not { } permission)
        {
            return;
        }

        var header = context.RequestHeaders.GetValue("authorization") ?? "";
        if (!header.StartsWith(Prefix, StringComparison.OrdinalIgnoreCase))
        {
            throw new RpcException(new Status(StatusCode.Unauthenticated, $"This needs the permission {permission} at site '{site}': send a token (authorization: Bearer …)."));
        }

        try
        {
            var (_, caller) = await tokens.CheckAsync(header[Prefix.Length..].Trim(), AiInferModule.Name, context.CancellationToken);
            if (!caller.May(permission, site))
            {
                throw new RpcException(new Status(
                    StatusCode.PermissionDenied, $"This needs the permission {permission} at site '{site}', which these roles have: {string.Join(", ", Roles.With(permission))}."));
            }
        }
        catch (TokenRefusedException e)
        {
            throw new RpcException(new Status(StatusCode.Unauthenticated, e.Message));
        }
    }

    private static string NameOf(ServerCallContext context) => context.Method[(context.Method.LastIndexOf('/') + 1)..];

    private static RpcException NotThere(ServerCallContext context) =>
        new(new Status(StatusCode.PermissionDenied, $"{NameOf(context)} does not say who may call it, so nobody may."));
}
