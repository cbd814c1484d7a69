using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using Yizhan.Platform.Identity;

namespace Yizhan.Platform.Tests;

/// <summary>A module with every kind of option.</summary>
public sealed class SampleModule : IServiceModule
{
    public static string Name => "sample";

    public static void Register(IHostApplicationBuilder builder) => builder.AddSettings<SampleOptions, SampleOptionsValidator>(Name);

    public static void Map(IEndpointRouteBuilder routes) => routes.MapGet("/ping", () => "pong").Needs(Permission.ReadFleet);

    public static void MapRoot(WebApplication app) => app.MapGet("/", () => "root").OpenToAll("a test");
}

public sealed class SampleOptions
{
    public int Retries { get; set; } = 3;

    public TimeSpan Pause { get; set; } = TimeSpan.FromSeconds(1);

    public List<SamplePeer> Peers { get; set; } = [];

    public Dictionary<string, SampleLimit> Limits { get; set; } = [];

    public string[] Tags { get; set; } = [];
}

public sealed class SamplePeer
{
    public string Title { get; set; } = "";

    public string AeTitle { get; set; } = "";
}

public sealed class SampleLimit
{
    public long Bytes { get; set; }
}

internal sealed class SampleOptionsValidator : IValidateOptions<SampleOptions>
{
    public ValidateOptionsResult Validate(string? name, SampleOptions options) => options.Retries is >= 0 and <= 5
        ? ValidateOptionsResult.Success
        : ValidateOptionsResult.Fail($"sample:retries is {options.Retries}; accepted: 0 to 5.");
}
