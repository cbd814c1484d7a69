using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace Yizhan.Platform.Tests;

/// <summary>A module with the section that a site file's devices go to.</summary>
public sealed class GatewayModule : IServiceModule
{
    public static string Name => "pacs-gw";

    public static void Register(IHostApplicationBuilder builder) => builder.AddSettings<GatewayOptions, GatewayOptionsValidator>(Name);

    public static void Map(IEndpointRouteBuilder routes)
    {
    }
}

public sealed class GatewayOptions
{
    public List<SamplePeer> Peers { get; set; } = [];
}

internal sealed class GatewayOptionsValidator : IValidateOptions<GatewayOptions>
{
    public ValidateOptionsResult Validate(string? name, GatewayOptions options) => ValidateOptionsResult.Success;
}
