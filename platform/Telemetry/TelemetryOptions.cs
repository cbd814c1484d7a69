using Microsoft.Extensions.Options;

namespace Yizhan.Platform.Telemetry;

/// <summary>What a node tells about itself. Section <c>telemetry</c>. Metrics are always there to be scraped, at <c>/metrics</c>.</summary>
public sealed class TelemetryOptions
{
    /// <summary>
    /// Where metrics and traces are pushed as OTLP over HTTP (protobuf), such as <c>http://127.0.0.1:4318</c>: the collector's base address, to which
    /// <c>/v1/traces</c> and <c>/v1/metrics</c> are added. Null (the default): nothing is pushed, and nothing is traced.
    /// </summary>
    public string? OtlpUrl { get; set; }

    /// <summary>Which part of the traces that begin here is recorded, 0 to 1. Default 1. A trace that began elsewhere goes on as it was decided there.</summary>
    public double TraceRatio { get; set; } = 1;
}

internal sealed class TelemetryOptionsValidator : IValidateOptions<TelemetryOptions>
{
    public ValidateOptionsResult Validate(string? name, TelemetryOptions options) =>
        options.OtlpUrl is not null && !(Uri.TryCreate(options.OtlpUrl, UriKind.Absolute, out var url) && url.Scheme is "http" or "https" && url.UserInfo is "")
            ? ValidateOptionsResult.Fail($"telemetry:otlpUrl is '{options.OtlpUrl}'; accepted is the http or https address of a collector, such as http://127.0.0.1:4318, without user and password.")
            : options.TraceRatio is not (>= 0 and <= 1)
                ? ValidateOptionsResult.Fail($"telemetry:traceRatio is {options.TraceRatio}; accepted: 0 to 1.")
                : ValidateOptionsResult.Success;
}
