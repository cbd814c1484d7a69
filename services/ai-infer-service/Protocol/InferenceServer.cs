using System.Reflection;
using Microsoft.Extensions.Options;
using Yizhan.AiInfer.Engine;
using Yizhan.AiInfer.Repository;
using Yizhan.Platform.Licences;

namespace Yizhan.AiInfer.Protocol;

/// <summary>What REST and gRPC have in common: finding the model, the memory of requests, names and versions.</summary>
internal sealed class InferenceServer(ModelRepository repository, LicenceGate licences, IOptions<AiInferOptions> options)
{
    private readonly long _maxInFlight = options.Value.MaxInFlightMiB * 1024L * 1024;
    private long _inFlight;

    /// <summary>Name in the server's metadata.</summary>
    public const string Name = "yizhan-ai-infer";

    /// <summary>Extensions of the protocol that are there.</summary>
    public static readonly string[] Extensions = ["binary_tensor_data", "statistics", "model_repository", "model_configuration"];

    /// <summary>Version of the product.</summary>
    public static string Version => typeof(InferenceServer).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion.Split('+')[0] ?? "0";

    /// <summary>Bundles of this node.</summary>
    public ModelRepository Repository => repository;

    /// <summary>Largest request in bytes.</summary>
    public long MaxRequestBytes => options.Value.MaxRequestMiB * 1024L * 1024;

    /// <summary>The loaded model.</summary>
    /// <exception cref="ModelNotReadyException">It is not here or not loaded.</exception>
    public ModelRunner Find(string name, string? version) =>
        repository.Find(name, version, out var reason) ?? throw new ModelNotReadyException(reason);

    /// <summary>The loaded model, when it may run.</summary>
    /// <exception cref="ModelNotReadyException">It is not here or not loaded.</exception>
    /// <exception cref="NotLicensedException">The site's licence does not allow it.</exception>
    public ModelRunner FindLicensed(string name, string? version) =>
        licences.WhyNot(FeatureOf(name)) is { } why ? throw new NotLicensedException(why) : Find(name, version);

    /// <summary>What a licence calls a model.</summary>
    public static string FeatureOf(string model) => "ai." + model;

    /// <summary>Takes room for a request until the result is disposed.</summary>
    /// <exception cref="OverloadedException">There is none.</exception>
    public IDisposable Reserve(long bytes)
    {
        if (Interlocked.Add(ref _inFlight, bytes) > _maxInFlight)
        {
            Interlocked.Add(ref _inFlight, -bytes);
            throw new OverloadedException($"Requests take {_maxInFlight} bytes already (ai-infer:maxInFlightMiB); ask again later.");
        }

        return new Room(this, bytes);
    }

    private sealed class Room(InferenceServer server, long bytes) : IDisposable
    {
        private InferenceServer? _server = server;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _server, null) is { } owner)
            {
                Interlocked.Add(ref owner._inFlight, -bytes);
            }
        }
    }
}

/// <summary>The model that is asked for is not here, or not loaded.</summary>
internal sealed class ModelNotReadyException(string message) : Exception(message);

/// <summary>The licence of the site does not allow the model now.</summary>
internal sealed class NotLicensedException(string message) : Exception(message);
