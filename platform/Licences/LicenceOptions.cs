using System.ComponentModel.DataAnnotations;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace Yizhan.Platform.Licences;

/// <summary>What a licence is asked for. Section <c>licence</c>. The product as it comes asks for none.</summary>
public sealed class LicenceOptions
{
    /// <summary>Folder with <c>licence.jws</c> and <c>licence-key.pem</c>. Default: <c>licence</c> in the node's data folder.</summary>
    public string? Folder { get; set; }

    /// <summary>
    /// Features that run with a licence only, such as <c>ai.*</c> or <c>ai.ct-ich</c>; at most 64. Empty (default): none. Storage, query and export
    /// cannot be named: no licence is ever asked for them.
    /// </summary>
    [MaxLength(64)]
    public List<string> Extras { get; set; } = [];
}

internal sealed class LicenceOptionsValidator : IValidateOptions<LicenceOptions>
{
    private readonly LicenceOptionsRanges _ranges = new();

    public ValidateOptionsResult Validate(string? name, LicenceOptions options) =>
        options.Extras.FirstOrDefault(extra => extra.Length == 0 || extra == "*" || LicenceGate.Care.Contains(extra)) is { } wrong
            ? ValidateOptionsResult.Fail($"licence:extras has '{wrong}'; accepted are features such as ai.* or ai.ct-ich, and none of {string.Join(", ", LicenceGate.Care)}.")
            : _ranges.Validate(name, options);
}

[OptionsValidator]
internal sealed partial class LicenceOptionsRanges : IValidateOptions<LicenceOptions>;

internal static class LicenceExtensions
{
    public static void AddLicence(this IHostApplicationBuilder builder)
    {
        builder.AddSettings<LicenceOptions, LicenceOptionsValidator>("licence");
        builder.Services.AddSingleton(services =>
        {
            var (node, options) = (services.GetRequiredService<IOptions<NodeOptions>>().Value, services.GetRequiredService<IOptions<LicenceOptions>>().Value);
            return new LicenceGate(
                node.SiteId, options.Folder ?? Path.GetFullPath(Path.Combine(node.DataFolder, "licence")), Hardware, services.GetRequiredService<TimeProvider>(),
                services.GetRequiredService<IMeterFactory>(), options.Extras);
        });
    }

    /// <summary>A machine that says nothing of itself is none that a licence names.</summary>
    private static string Hardware()
    {
        try
        {
            return HardwareFingerprint.Of();
        }
        catch (IOException)
        {
            return "";
        }
    }
}
