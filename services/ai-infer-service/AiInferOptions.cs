using System.ComponentModel.DataAnnotations;
using System.Net;
using Microsoft.Extensions.Options;
using Yizhan.AiInfer.Clinical;
using Yizhan.AiInfer.Rollout;

namespace Yizhan.AiInfer;

/// <summary>Models and how they are run. Section <c>ai-infer</c>.</summary>
public sealed class AiInferOptions
{
    /// <summary>Folder of the site's bundles, one folder for each name and in it one for each version; null for <c>ai-infer/models</c> in the data folder.</summary>
    public string? ModelsFolder { get; set; }

    /// <summary>Whose signatures of bundles count (<c>trust.json</c>, as for releases); null: none, so only bundles that ship with the product are taken.</summary>
    public string? TrustPath { get; set; }

    /// <summary>Takes bundles that nobody signed: for development only. Default false.</summary>
    public bool AllowUnsigned { get; set; }

    /// <summary>Names of models that are loaded at the start; others are loaded when they are first needed or asked for. Default none.</summary>
    public IReadOnlyList<string> Load { get; set; } = [];

    /// <summary>Address of the gRPC service, such as <c>127.0.0.1:8001</c>: HTTP/2 without TLS needs a port of its own. Loopback only. Null: no gRPC. Default null.</summary>
    public string? GrpcEndPoint { get; set; }

    /// <summary>Largest request, in MiB. Default 256.</summary>
    [Range(1, 1900)]
    public int MaxRequestMiB { get; set; } = 256;

    /// <summary>Requests that are in memory at a time, in MiB; beyond it they are refused with 503. Default 1024.</summary>
    [Range(1, 65_536)]
    public int MaxInFlightMiB { get; set; } = 1024;

    /// <summary>Largest bundle, in MiB. Default 512.</summary>
    [Range(1, 8192)]
    public int MaxBundleMiB { get; set; } = 512;

    /// <summary>Threads of one computation. Default 1.</summary>
    [Range(1, 256)]
    public int Threads { get; set; } = 1;

    /// <summary>Memory of a model that runs in a process of its own, and of the trial that each new bundle has to pass, in MiB. Default 2048.</summary>
    [Range(128, 1_048_576)]
    public int WorkerMemoryMiB { get; set; } = 2048;

    /// <summary>Which series are analysed by which model. Default none: nothing is analysed.</summary>
    public IReadOnlyList<AnalysisRule> Rules { get; set; } = [];

    /// <summary>A series that nothing was added to for so many seconds is complete enough to look at. Default 10.</summary>
    [Range(0, 3600)]
    public int QuietSeconds { get; set; } = 10;

    /// <summary>DICOMweb of the gateway that studies come from and results go to; null for the one of this node. Default null.</summary>
    public Uri? DicomWebUrl { get; set; }

    /// <summary>Name of the service that answers there, such as <c>pacs-gw</c>, when it is one of ours behind <c>service-tls</c>. Empty (default): it is none.</summary>
    public string DicomWebService { get; set; } = "";

    /// <summary>Largest series, in MiB. Default 2048.</summary>
    [Range(1, 65_536)]
    public int MaxSeriesMiB { get; set; } = 2048;

    /// <summary>How often the centre is told of the models, when something of them has changed, in seconds. Default 60.</summary>
    [Range(1, 86_400)]
    public int ReportSeconds { get; set; } = 60;

    /// <summary>When a version is held without anybody asking.</summary>
    public GuardOptions Guard { get; set; } = new();
}

internal sealed class AiInferOptionsValidator : IValidateOptions<AiInferOptions>
{
    private readonly Generated _generated = new();

    public ValidateOptionsResult Validate(string? name, AiInferOptions options) =>
        options.GrpcEndPoint is { } text && !(IPEndPoint.TryParse(text, out var point) && IPAddress.IsLoopback(point.Address))
            ? ValidateOptionsResult.Fail($"ai-infer:grpcEndPoint is '{text}'; accepted: an address on loopback and a port, such as 127.0.0.1:8001.")
            : _generated.Validate(name, options);

    private sealed class Generated : IValidateOptions<AiInferOptions>
    {
        public ValidateOptionsResult Validate(string? name, AiInferOptions options)
        {
            var problems = new List<ValidationResult>();
            return Validator.TryValidateObject(options, new ValidationContext(options), problems, validateAllProperties: true)
                ? ValidateOptionsResult.Success
                : ValidateOptionsResult.Fail(problems.Select(p => $"ai-infer: {p.ErrorMessage}"));
        }
    }
}
