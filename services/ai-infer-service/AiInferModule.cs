using Yizhan.AiInfer.Clinical;
using Yizhan.AiInfer.Protocol;
using Yizhan.AiInfer.Repository;
using Yizhan.AiInfer.Rollout;
using Yizhan.Contracts;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.AiInfer;

/// <summary>Models that a hospital can run, trust and roll back (deployment <c>ai-infer</c>).</summary>
public sealed class AiInferModule : IServiceModule
{
    /// <inheritdoc/>
    public static string Name => "ai-infer";

    /// <inheritdoc/>
    public static void Register(IHostApplicationBuilder builder)
    {
        builder.AddEventLog();
        builder.AddSettings<AiInferOptions, AiInferOptionsValidator>(Name);
        builder.Services.ConfigureHttpJsonOptions(o => o.SerializerOptions.TypeInfoResolverChain.Insert(0, ContractsJson.Default));
        builder.Services.AddSingleton<ModelRepository>();
        builder.Services.AddHostedService(services => services.GetRequiredService<ModelRepository>());
        builder.Services.AddHealthChecks().AddCheck<InferenceHealth>(Name);
        builder.Services.AddSingleton<InferenceServer>();
        builder.Services.AddSingleton<GrpcListener>();
        builder.Services.AddHostedService(services => services.GetRequiredService<GrpcListener>());
        builder.Services.AddSingleton<AnalysisDatabase>();
        // Before those who need it: what is registered first is stopped last.
        builder.Services.AddSingleton<AnalysisTurn>();
        builder.Services.AddHostedService(services => services.GetRequiredService<AnalysisTurn>());
        builder.Services.AddSingleton<RolloutMetrics>();
        builder.Services.AddSingleton<RolloutDesk>();
        builder.Services.AddSingleton<ModelReporter>();
        builder.Services.AddHostedService(services => services.GetRequiredService<ModelReporter>());
        builder.Services.AddSingleton<DicomWebClient>();
        builder.Services.AddSingleton<StudyFollower>();
        builder.Services.AddSingleton<ILogConsumer>(services => services.GetRequiredService<StudyFollower>());
        builder.Services.AddHostedService(services => services.GetRequiredService<StudyFollower>());
        builder.Services.AddSingleton<AnalysisRunner>();
        builder.Services.AddSingleton<IClinicalWork>(services => services.GetRequiredService<AnalysisRunner>());
        builder.Services.AddHostedService(services => services.GetRequiredService<AnalysisRunner>());
    }

    /// <inheritdoc/>
    public static void Map(IEndpointRouteBuilder routes)
    {
        ModelEndpoints.Map(routes);
        RolloutEndpoints.Map(routes);
    }

    /// <summary>The Open Inference Protocol is at the root, where its clients look for it.</summary>
    public static void MapRoot(WebApplication app) => RestEndpoints.Map(app);
}
