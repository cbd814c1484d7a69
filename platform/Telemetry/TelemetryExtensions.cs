using System.Diagnostics.Metrics;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using OpenTelemetry.Exporter;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace Yizhan.Platform.Telemetry;

/// <summary>Metrics and traces of every node, by OpenTelemetry.</summary>
internal static class TelemetryExtensions
{
    /// <summary>Where a Prometheus scrapes.</summary>
    public const string MetricsPath = "/metrics";

    public static void AddTelemetry(this WebApplicationBuilder builder)
    {
        builder.AddSettings<TelemetryOptions, TelemetryOptionsValidator>("telemetry");
        var options = builder.Configuration.GetSection("telemetry").Get<TelemetryOptions>() ?? new TelemetryOptions();
        var node = builder.Configuration.GetSection("node").Get<NodeOptions>() ?? new NodeOptions();
        var telemetry = builder.Services.AddOpenTelemetry().ConfigureResource(resource => resource
            .Clear()
            .AddService("yizhan", serviceInstanceId: node.SiteId)
            .AddAttributes([new("site", node.SiteId)]));
        telemetry.WithMetrics(metrics =>
        {
            metrics
                .AddMeter("Yizhan.*", "System.Runtime", "Microsoft.AspNetCore.Hosting", "Microsoft.AspNetCore.Server.Kestrel")
                .AddPrometheusExporter(o => o.ScrapeEndpointPath = MetricsPath);
            metrics.ConfigureServices(services => services.ConfigureOpenTelemetryMeterProvider((provider, m) =>
            {
                var own = provider.GetRequiredService<IMeterFactory>();
                m.AddView(instrument => IsOthers(instrument, own) ? MetricStreamConfiguration.Drop : null);
            }));
            if (Collector(options, "v1/metrics") is { } url)
            {
                metrics.AddOtlpExporter(o => (o.Endpoint, o.Protocol) = (url, OtlpExportProtocol.HttpProtobuf));
            }
        });
        if (Collector(options, "v1/traces") is { } traces)
        {
            telemetry.WithTracing(tracing => tracing
                .AddSource(Tracing.Source.Name)
                .AddAspNetCoreInstrumentation(o => o.Filter = context => context.Request.Path != "/healthz" && !context.Request.Path.StartsWithSegments("/health") && context.Request.Path != MetricsPath)
                .SetSampler(new ParentBasedSampler(new TraceIdRatioBasedSampler(options.TraceRatio)))
                .AddOtlpExporter(o => (o.Endpoint, o.Protocol) = (traces, OtlpExportProtocol.HttpProtobuf)));
        }
    }

    /// <summary>Serves the metrics.</summary>
    public static IEndpointConventionBuilder MapTelemetry(this WebApplication app) => app.MapPrometheusScrapingEndpoint();

    // Several nodes may be in one process, and a listener hears the meters of all of them.
    private static bool IsOthers(Instrument instrument, IMeterFactory own) =>
        instrument.Meter.Name.StartsWith("Yizhan.", StringComparison.Ordinal) && instrument.Meter.Scope is IMeterFactory scope && scope != own;

    private static Uri? Collector(TelemetryOptions options, string path) =>
        Uri.TryCreate(options.OtlpUrl, UriKind.Absolute, out var url) ? new Uri($"{url.ToString().TrimEnd('/')}/{path}") : null;
}
