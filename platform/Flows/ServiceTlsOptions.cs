using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace Yizhan.Platform.Flows;

/// <summary>
/// TLS with certificates at both ends between services that run apart. Section <c>service-tls</c>. Without it services speak HTTP, as they do in
/// one process; then <c>web:url</c> has to be the loopback or lie behind something that does TLS.
/// </summary>
public sealed class ServiceTlsOptions
{
    /// <summary>See <see cref="MaxConnections"/>.</summary>
    internal const int DefaultMaxConnections = 1024;

    /// <summary>PEM file with the certificate of this node's services and its chain: <c>spiffe://yizhan/NAMESPACE/SERVICE</c>. Turns TLS on.</summary>
    public string? CertificatePath { get; set; }

    /// <summary>PEM file with its private key.</summary>
    public string? KeyPath { get; set; }

    /// <summary>PEM file with the root of the installation.</summary>
    public string? RootPath { get; set; }

    /// <summary>Who may call whom: <c>infra/flows.yaml</c>.</summary>
    public string? FlowsPath { get; set; }

    /// <summary>Most connections of other services at a time, 16 to 65536; when all are taken, those that have asked nothing yet make room. Default 1024.</summary>
    public int MaxConnections { get; set; } = DefaultMaxConnections;
}

internal sealed class ServiceTlsOptionsValidator : IValidateOptions<ServiceTlsOptions>
{
    public ValidateOptionsResult Validate(string? name, ServiceTlsOptions options)
    {
        if (options.MaxConnections is < 16 or > 65_536)
        {
            return ValidateOptionsResult.Fail($"service-tls:maxConnections is {options.MaxConnections}; accepted is 16 to 65536.");
        }

        if (options is { CertificatePath: null, KeyPath: null, RootPath: null, FlowsPath: null })
        {
            return ValidateOptionsResult.Success;
        }

        (string Setting, string? Path)[] files =
        [
            ("certificatePath", options.CertificatePath), ("keyPath", options.KeyPath), ("rootPath", options.RootPath), ("flowsPath", options.FlowsPath),
        ];
        return Array.Find(files, file => string.IsNullOrEmpty(file.Path)) is { Setting: { } missing }
            ? ValidateOptionsResult.Fail($"service-tls:{missing} is missing: TLS between services needs certificatePath, keyPath, rootPath and flowsPath.")
            : Array.Find(files, file => !File.Exists(file.Path)) is { Setting: { } absent, Path: var path }
            ? ValidateOptionsResult.Fail($"service-tls:{absent} is '{path}', and there is no such file.")
            : ValidateOptionsResult.Success;
    }
}

internal static class ServiceTlsExtensions
{
    /// <summary>Adds it when it is configured; <paramref name="own"/> are the services of this process, which are known when it is first asked for.</summary>
    public static void AddServiceTls(this IHostApplicationBuilder builder, IReadOnlyCollection<string> own)
    {
        builder.AddSettings<ServiceTlsOptions, ServiceTlsOptionsValidator>("service-tls");
        if (builder.Configuration["service-tls:certificatePath"] is not null)
        {
            builder.Services.AddSingleton(services =>
            {
                var options = services.GetRequiredService<IOptions<ServiceTlsOptions>>().Value;
                try
                {
                    return new ServiceTls(options.CertificatePath!, options.KeyPath!, options.RootPath!, options.FlowsPath!, own, services.GetRequiredService<TimeProvider>(), options.MaxConnections);
                }
                catch (Exception e) when (e is InvalidDataException or IOException)
                {
                    throw new SettingException($"service-tls:flowsPath: {e.Message}");
                }
            });
        }
    }
}
