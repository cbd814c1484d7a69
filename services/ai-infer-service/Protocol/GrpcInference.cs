using Grpc.Core;
using Yizhan.AiInfer.Engine;
using Yizhan.AiInfer.Repository;
using Yizhan.OpenInference;
using Yizhan.OpenInference.Grpc;
using Yizhan.Platform.Bundles;
using ModelStatistics = Yizhan.OpenInference.Grpc.ModelStatistics;

namespace Yizhan.AiInfer.Protocol;

/// <summary>The gRPC half of the Open Inference Protocol, with the statistics and repository extensions.</summary>
internal sealed class GrpcInference(InferenceServer server) : GRPCInferenceService.GRPCInferenceServiceBase
{
    public override Task<ServerLiveResponse> ServerLive(ServerLiveRequest request, ServerCallContext context) => Task.FromResult(new ServerLiveResponse { Live = true });

    public override Task<ServerReadyResponse> ServerReady(ServerReadyRequest request, ServerCallContext context) => Task.FromResult(new ServerReadyResponse { Ready = true });

    public override Task<ModelReadyResponse> ModelReady(ModelReadyRequest request, ServerCallContext context) =>
        Task.FromResult(new ModelReadyResponse { Ready = server.Repository.Find(request.Name, request.Version, out _) is not null });

    public override Task<ServerMetadataResponse> ServerMetadata(ServerMetadataRequest request, ServerCallContext context) =>
        Task.FromResult(new ServerMetadataResponse { Name = InferenceServer.Name, Version = InferenceServer.Version, Extensions = { InferenceServer.Extensions } });

    public override Task<ModelMetadataResponse> ModelMetadata(ModelMetadataRequest request, ServerCallContext context) => Answer(() =>
    {
        var runner = server.Find(request.Name, request.Version);
        var metadata = new ModelMetadataResponse { Name = runner.Name, Platform = runner.Engine.Platform, Versions = { server.Repository.Versions(runner.Name) } };
        metadata.Inputs.Add(runner.Engine.Inputs.Select(Spec));
        metadata.Outputs.Add(runner.Engine.Outputs.Select(Spec));
        metadata.Properties["runs_on"] = runner.Engine.RunsOn;
        return Task.FromResult(metadata);
    });

    public override Task<ModelInferResponse> ModelInfer(ModelInferRequest request, ServerCallContext context) => Answer(async () =>
    {
        var runner = server.FindLicensed(request.ModelName, request.ModelVersion);
        return GrpcTensors.Write(await runner.InferAsync(GrpcTensors.Read(request), context.CancellationToken));
    });

    public override Task<ModelStatisticsResponse> ModelStatistics(ModelStatisticsRequest request, ServerCallContext context) => Answer(() =>
    {
        var runners = request.Name.Length > 0 ? [server.Find(request.Name, request.Version)] : server.Repository.Index().Select(h => h.Runner).OfType<ModelRunner>();
        var response = new ModelStatisticsResponse();
        response.ModelStats.Add(runners.Select(Statistics));
        return Task.FromResult(response);
    });

    public override Task<RepositoryIndexResponse> RepositoryIndex(RepositoryIndexRequest request, ServerCallContext context)
    {
        var response = new RepositoryIndexResponse();
        response.Models.Add(server.Repository.Index().Where(h => !request.Ready || h.State == ModelState.Ready).Select(h =>
            new RepositoryIndexResponse.Types.ModelIndex { Name = h.Name, Version = h.Version, State = h.State, Reason = h.Reason }));
        return Task.FromResult(response);
    }

    public override Task<RepositoryModelLoadResponse> RepositoryModelLoad(RepositoryModelLoadRequest request, ServerCallContext context) => Answer(async () =>
    {
        if (request.Parameters.Keys.FirstOrDefault(key => key != "version") is { } key)
        {
            throw new InferenceFormatException($"The parameter '{key}' is not taken: models come as signed bundles; accepted: version.");
        }

        await server.Repository.LoadAsync(request.ModelName, request.Parameters.TryGetValue("version", out var v) ? v.StringParam : null, context.CancellationToken);
        return new RepositoryModelLoadResponse();
    });

    public override Task<RepositoryModelUnloadResponse> RepositoryModelUnload(RepositoryModelUnloadRequest request, ServerCallContext context) => Answer(async () =>
    {
        await server.Repository.UnloadAsync(request.ModelName, null, context.CancellationToken);
        return new RepositoryModelUnloadResponse();
    });

    private static async Task<T> Answer<T>(Func<Task<T>> work)
    {
        try
        {
            return await work();
        }
        catch (Exception e) when (e is InferenceFormatException or BundleRefusedException)
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, e.Message));
        }
        catch (ModelNotReadyException e)
        {
            throw new RpcException(new Status(StatusCode.NotFound, e.Message));
        }
        catch (NotLicensedException e)
        {
            throw new RpcException(new Status(StatusCode.PermissionDenied, e.Message));
        }
        catch (OverloadedException e)
        {
            throw new RpcException(new Status(StatusCode.ResourceExhausted, e.Message));
        }
        catch (ModelFailedException e)
        {
            throw new RpcException(new Status(StatusCode.Internal, e.Message));
        }
    }

    private static ModelStatistics Statistics(ModelRunner runner)
    {
        var s = runner.Statistics.View();
        var message = new ModelStatistics
        {
            Name = runner.Name,
            Version = runner.Version,
            LastInference = (ulong)s.LastInferenceMs,
            InferenceCount = (ulong)s.InferenceCount,
            ExecutionCount = (ulong)s.ExecutionCount,
            InferenceStats = new InferStatistics
            {
                Success = Of(s.Success),
                Fail = Of(s.Fail),
                Queue = Of(s.Queue),
                ComputeInput = Of(s.ComputeInput),
                ComputeInfer = Of(s.ComputeInfer),
                ComputeOutput = Of(s.ComputeOutput),
                CacheHit = Of(default),
                CacheMiss = Of(default),
            },
        };
        message.BatchStats.Add(s.Batches.Select(b => new InferBatchStatistics
        {
            BatchSize = (ulong)b.Key,
            ComputeInput = Of(b.Value.Input),
            ComputeInfer = Of(b.Value.Infer),
            ComputeOutput = Of(b.Value.Output),
        }));
        return message;
    }

    private static StatisticDuration Of(Duration d) => new() { Count = (ulong)d.Count, Ns = (ulong)d.Ns };

    private static ModelMetadataResponse.Types.TensorMetadata Spec(TensorSpec spec) => new() { Name = spec.Name, Datatype = spec.Datatype, Shape = { spec.Shape } };
}
