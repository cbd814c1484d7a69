using System.Collections.Concurrent;
using Microsoft.Extensions.Options;
using Yizhan.EmrAdapter.Fhir;
using Yizhan.EmrAdapter.Hl7;
using Yizhan.EmrAdapter.OpenMrs;
using Yizhan.EmrAdapter.Outbox;
using Yizhan.EmrAdapter.Terms;
using Yizhan.Storage;

namespace Yizhan.EmrAdapter;

/// <summary>The driver of each system of the settings.</summary>
internal sealed class EmrDrivers(IOptions<EmrAdapterOptions> options, EmrOutbox outbox, TermMaps terms, IBlobStore blobs, TimeProvider clock) : IAsyncDisposable
{
    private readonly ConcurrentDictionary<string, IEmrDriver> _drivers = new();

    /// <summary>Kinds that a driver can say.</summary>
    public static bool CanSay(string driver, string kind) => (driver, kind) switch
    {
        (_, "report" or "finding") => true,
        ("hl7", "note" or "order") or ("fhir", "note" or "study" or "recording") or ("bahmni", "note") => true,
        _ => false,
    };

    /// <summary>True when a system is told things of a kind; the recording of a dictation goes where its note goes.</summary>
    public static bool IsTold(EmrSystemOptions system, string kind) => CanSay(system.Driver, kind) && system.Sends.Split(' ').Contains(kind == "recording" ? "note" : kind);

    /// <summary>The driver of a system.</summary>
    public IEmrDriver For(string name) => _drivers.GetOrAdd(name, _ =>
    {
        var system = options.Value.Systems.Single(s => s.Name == name);
        return system.Driver switch
        {
            "hl7" => new Hl7Driver(system, TimeSpan.FromMinutes(options.Value.UtcOffsetMinutes), blobs, clock),
            "fhir" => new FhirDriver(system, outbox, terms, blobs),
            "openmrs" => new OpenMrsDriver(system, outbox),
            "bahmni" => new BahmniDriver(system, outbox, blobs),
            _ => throw new System.Diagnostics.UnreachableException($"No driver {system.Driver}."),
        };
    });

    public async ValueTask DisposeAsync()
    {
        foreach (var driver in _drivers.Values)
        {
            await driver.DisposeAsync();
        }
    }
}
