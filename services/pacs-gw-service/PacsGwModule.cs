using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.PacsGw.Archive;
using Yizhan.PacsGw.Codecs;
using Yizhan.PacsGw.Commitment;
using Yizhan.PacsGw.Deidentify;
using Yizhan.PacsGw.DicomWeb;
using Yizhan.PacsGw.Orthanc;
using Yizhan.PacsGw.Peers;
using Yizhan.PacsGw.Query;
using Yizhan.PacsGw.Receive;
using Yizhan.PacsGw.Reconcile;
using Yizhan.PacsGw.Rendering;
using Yizhan.PacsGw.Retention;
using Yizhan.PacsGw.Retrieve;
using Yizhan.PacsGw.Rules;
using Yizhan.PacsGw.Worklist;
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
        builder.Services.Configure<SocketTransportOptions>(o => o.MaxWriteBufferSize = MultipartResponse.BufferedBytes);

        NativeCodecs.Require();
        builder.Services.AddSingleton<CodecGate>();
        builder.Services.AddSingleton<Transcoder>();
        builder.Services.AddSingleton<GatewayDatabase>();
        builder.Services.AddSingleton<GatewayMetrics>();
        builder.Services.AddSingleton<ConflictDesk>();
        builder.Services.AddSingleton(services => new UidFactory(
            services.GetRequiredService<IOptions<PacsGwOptions>>().Value.UidRoot ?? UidFactory.FromEnvironment));
        builder.Services.AddSingleton<ProjectKeys>();
        builder.Services.AddSingleton<RuleBook>();
        builder.Services.AddSingleton<RouteQueue>();
        builder.Services.AddSingleton<InstanceIntake>();
        builder.Services.AddSingleton<ArchivedContent>();
        builder.Services.AddSingleton<StowMetadata>();
        builder.Services.AddSingleton<ArchiveDatabase>();
        builder.Services.AddSingleton<ArchivePins>();
        builder.Services.AddSingleton<KeepReasons>();
        builder.Services.AddSingleton<ArchiveChanges>();
        builder.Services.AddSingleton<ILogConsumer, ArchiveConsumer>();
        builder.Services.AddSingleton<ILogConsumer, RouteConsumer>();
        builder.Services.AddSingleton<StoredInstances>();
        builder.Services.AddSingleton<StudyList>();
        builder.Services.AddSingleton<ArchiveProgress>();
        builder.Services.AddSingleton<ArchiveEvents>();
        builder.Services.AddSingleton<ReadAudit>();
        builder.Services.AddSingleton<RenderSource>();

        builder.Services.AddSingleton<Ups.NotificationConnections>();
        builder.Services.AddSingleton<Ups.Workitems>();
        builder.Services.AddHostedService(services => services.GetRequiredService<Ups.Workitems>());
        builder.Services.AddSingleton<PeerDirectory>();
        builder.Services.AddSingleton<PeerTls>();
        builder.Services.AddSingleton<PeerConnector>();
        builder.Services.AddSingleton<OpenAssociations>();
        builder.Services.AddSingleton<IClinicalWork>(services => services.GetRequiredService<OpenAssociations>());
        builder.Services.AddSingleton<OpenUploads>();
        builder.Services.AddSingleton<IClinicalWork>(services => services.GetRequiredService<OpenUploads>());
        builder.Services.AddSingleton<PeerClient>();
        builder.Services.AddSingleton<PeerServices>();
        builder.Services.AddSingleton<FindScp>();
        builder.Services.AddSingleton<RetrieveScp>();
        builder.Services.AddSingleton<CommitmentScp>();
        builder.Services.AddSingleton<ProcedureStepScp>();

        // Started in this order and stopped in the other: nothing is received that would not be indexed.
        builder.Services.AddHostedService<ArchiveIndexer>();
        builder.Services.AddHostedService<ArchiveEviction>();
        builder.Services.AddHostedService<CommitmentReporter>();
        builder.Services.AddSingleton<DicomListener>();
        builder.Services.AddHostedService(services => services.GetRequiredService<DicomListener>());
        builder.Services.AddHostedService<OrthancFollower>();
        builder.Services.AddHostedService<RouteFollower>();
        builder.Services.AddHostedService<ArchiveRetention>();
        builder.Services.AddSingleton<RouteSender>();
        builder.Services.AddHostedService(services => services.GetRequiredService<RouteSender>());
    }

    /// <summary>Events of the unified worklist go over WebSockets.</summary>
    public static void MapRoot(WebApplication app) => app.UseWebSockets(new WebSocketOptions { KeepAliveInterval = TimeSpan.FromSeconds(20) });

    /// <inheritdoc/>
    public static void Map(IEndpointRouteBuilder routes)
    {
        StudyEndpoints.Map(routes);
        DicomWebEndpoints.Map(routes);
        DataSetEndpoint.Map(routes);
        RouteEndpoints.Map(routes);
        ConflictEndpoints.Map(routes);
        PeerEndpoints.Map(routes);
        WorklistEndpoints.Map(routes);
    }
}
