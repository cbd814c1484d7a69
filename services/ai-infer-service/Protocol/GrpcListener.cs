using System.Net;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Options;
using Yizhan.Platform;
using Yizhan.Platform.Identity;

namespace Yizhan.AiInfer.Protocol;

/// <summary>The port of the gRPC service: HTTP/2 without TLS cannot share one with HTTP/1.1.</summary>
internal sealed partial class GrpcListener(
    InferenceServer server, TokenValidator tokens, IOptions<NodeOptions> node, IOptions<AiInferOptions> options, ILoggerFactory loggers, ILogger<GrpcListener> logger) : IHostedService
{
    private const int MaxConnections = 256;

    private WebApplication? _app;

    /// <summary>Where it listens; null when it does not.</summary>
    public IPEndPoint? EndPoint { get; private set; }

    /// <inheritdoc/>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        if (options.Value.GrpcEndPoint is not { } endPoint)
        {
            return;
        }

        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton(loggers);
        builder.Services.AddRoutingCore();
        builder.Services.AddSingleton(new GrpcInference(server));
        builder.Services.AddGrpc(grpc =>
        {
            grpc.MaxReceiveMessageSize = (int)server.MaxRequestBytes;
            grpc.MaxSendMessageSize = null;
        });
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = null;
            kestrel.Limits.MaxConcurrentConnections = MaxConnections;
            kestrel.Limits.Http2.InitialConnectionWindowSize = 8 * 1024 * 1024;
            kestrel.Limits.Http2.InitialStreamWindowSize = 4 * 1024 * 1024;
            kestrel.Listen(IPEndPoint.Parse(endPoint), listen => listen.Protocols = HttpProtocols.Http2);
        });
        _app = builder.Build();
        _app.Use(new GrpcAccess(server, tokens, node.Value.SiteId).InvokeAsync);
        _app.MapGrpcService<GrpcInference>();
        await _app.StartAsync(cancellationToken);
        EndPoint = IPEndPoint.Parse(new Uri(_app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First()).Authority);
        Listens(EndPoint);
    }

    /// <inheritdoc/>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        if (_app is { } app)
        {
            _app = null;
            await app.StopAsync(cancellationToken);
            await app.DisposeAsync();
        }
    }

    [LoggerMessage(4010, LogLevel.Information, "The Open Inference Protocol is served by gRPC on {EndPoint}.")]
    private partial void Listens(IPEndPoint endPoint);
}
