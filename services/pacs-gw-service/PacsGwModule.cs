using Yizhan.Contracts;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.Codecs;
using Yizhan.PacsGw.DicomWeb;
using Yizhan.PacsGw.Receive;
using Yizhan.PacsGw.Rendering;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.PacsGw;

/// <summary>DICOM and DICOMweb in and out, archive (deployment <c>pacs-gw</c>).</summary>
public sealed class PacsGwModule : IServiceModule
{
    /// <inheritdoc/>
    public static string Name => "pacs-gw";

    /// <inheritdoc/>
    public static void Register(IHostApplicationBuilder builder)
    {
        builder.AddEventLog();
        builder.AddSettings<PacsGwOptions, PacsGwOptionsValidator>(Name);
        builder.Services.ConfigureHttpJsonOptions(o => o.SerializerOptions.TypeInfoResolverChain.Insert(0, ContractsJson.Default));

        NativeCodecs.Require();
        builder.Services.AddSingleton<Transcoder>();
        builder.Services.AddSingleton<InstanceIntake>();
        builder.Services.AddSingleton<ArchiveDatabase>();
        builder.Services.AddSingleton<ArchiveChanges>();
        builder.Services.AddSingleton<ILogConsumer, ArchiveConsumer>();
        builder.Services.AddSingleton<StoredInstances>();
        builder.Services.AddSingleton<StudyList>();
        builder.Services.AddSingleton<ReadAudit>();
        builder.Services.AddSingleton<RenderSource>();

        // Started in this order and stopped in the other: nothing is received that would not be indexed.
        builder.Services.AddHostedService<ArchiveIndexer>();
        builder.Services.AddHostedService<ArchiveEviction>();
        builder.Services.AddSingleton<DicomListener>();
        builder.Services.AddHostedService(services => services.GetRequiredService<DicomListener>());
    }

    /// <inheritdoc/>
    public static void Map(IEndpointRouteBuilder routes)
    {
        StudyEndpoints.Map(routes);
        DicomWebEndpoints.Map(routes);
        DataSetEndpoint.Map(routes);
    }
}
