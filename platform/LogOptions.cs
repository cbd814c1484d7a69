using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Yizhan.Platform;

/// <summary>What is logged, to standard output. Section <c>log</c>.</summary>
public sealed class LogOptions
{
    /// <summary>Lowest level: trace, debug, information, warning, error or critical. Default information.</summary>
    public string Level { get; set; } = nameof(LogLevel.Information);

    /// <summary><c>text</c> (default) or <c>json</c>, one object a line.</summary>
    public string Format { get; set; } = "text";
}

internal sealed class LogOptionsValidator : IValidateOptions<LogOptions>
{
    public ValidateOptionsResult Validate(string? name, LogOptions options) =>
        !Enum.GetNames<LogLevel>().Contains(options.Level, StringComparer.OrdinalIgnoreCase)
            ? ValidateOptionsResult.Fail($"log:level is '{options.Level}'; accepted: {string.Join(", ", Enum.GetNames<LogLevel>())}.")
            : options.Format is not ("text" or "json")
                ? ValidateOptionsResult.Fail($"log:format is '{options.Format}'; accepted: text, json.")
                : ValidateOptionsResult.Success;
}
