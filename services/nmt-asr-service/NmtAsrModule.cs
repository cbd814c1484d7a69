using Yizhan.NmtAsr.Batch;
using Yizhan.NmtAsr.Clients;
using Yizhan.NmtAsr.Live;
using Yizhan.NmtAsr.Packs;
using Yizhan.NmtAsr.Quality;
using Yizhan.NmtAsr.Translation;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.NmtAsr;

/// <summary>Speech to text, live and from files, how wrong it is, and translation (deployment <c>nmt-asr</c>).</summary>
public sealed class NmtAsrModule : IServiceModule
{
    /// <inheritdoc/>
    public static string Name => "nmt-asr";

    /// <inheritdoc/>
    public static void Register(IHostApplicationBuilder builder)
    {
        builder.AddEventLog();
        builder.AddSettings<NmtAsrOptions, NmtAsrOptionsValidator>(Name);
        builder.Services.ConfigureHttpJsonOptions(o => o.SerializerOptions.TypeInfoResolverChain.Insert(0, SpeechJson.Default));
        builder.Services.AddSingleton<PackStore>();
        builder.Services.AddSingleton<SpeechRouter>();
        builder.Services.AddSingleton<ErrorFigures>();
        builder.Services.AddSingleton<Dictations>();
        builder.Services.AddSingleton<Translator>();
        builder.Services.AddSingleton<IClinicalWork>(services => services.GetRequiredService<Dictations>());
        builder.Services.AddSingleton<TranscriptJobs>();
        builder.Services.AddHostedService(services => services.GetRequiredService<TranscriptJobs>());
        builder.Services.AddSingleton<GoldenSets>();
        builder.Services.AddHostedService(services => services.GetRequiredService<GoldenSets>());
    }

    /// <inheritdoc/>
    public static void Map(IEndpointRouteBuilder routes)
    {
        PackEndpoints.Map(routes);
        LiveEndpoints.Map(routes);
        ClientEndpoints.Map(routes);
        TranscriptEndpoints.Map(routes);
        JobEndpoints.Map(routes);
        TranslationEndpoints.Map(routes);
    }

    /// <summary>Live dictation needs WebSockets.</summary>
    public static void MapRoot(WebApplication app) => app.UseWebSockets(new WebSocketOptions { KeepAliveInterval = TimeSpan.FromSeconds(20) });
}
