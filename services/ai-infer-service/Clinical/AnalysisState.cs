using System.Text.Json.Serialization;

namespace Yizhan.AiInfer.Clinical;

/// <summary>What one process of ai-infer leaves for the next that takes its turn: where to read on, so that nothing that is owed is missed, and what was decided about models.</summary>
/// <param name="Position">Everything up to here is done.</param>
/// <param name="Rollouts">Versions of each model.</param>
/// <param name="History">The newest changes of each model, in order.</param>
/// <param name="Obeyed">Orders that were done.</param>
/// <param name="Choices">The version of each of the newest studies, in order.</param>
/// <param name="Begun">Attempts of what is owed: a series that takes its process down is parked by the third process, too.</param>
internal sealed record AnalysisState(long Position, StateRollout[] Rollouts, StateChange[] History, long[] Obeyed, StateChoice[] Choices, StateAttempt[] Begun);

/// <summary>Versions of a model.</summary>
internal sealed record StateRollout(string Model, string Stable, string? Candidate, long Percent, string? Stopped);

/// <summary>A change of a model's rollout.</summary>
internal sealed record StateChange(string Model, long AtMs, string Action, string Version, long Percent, string Who, string Reason);

/// <summary>The version of a study.</summary>
internal sealed record StateChoice(string Model, string Study, string Version);

/// <summary>How often an analysis was begun.</summary>
internal sealed record StateAttempt(string Series, string Model, long Attempts);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(AnalysisState))]
internal sealed partial class AnalysisStateJson : JsonSerializerContext;
