namespace Yizhan.Inventory.Collect;

/// <summary>How each kind of source is read.</summary>
internal sealed class SourceReaders(StockFiles files, AgentFiles agents, FhirPull fhir, OpenMrsPull openMrs, Passive passive, SnmpPoll snmp, RedfishPoll redfish, DicomEcho dicom, NodeSelf self)
{
    /// <summary>Reads a source.</summary>
    /// <returns>Whether there was anything: an exporter that has died looks like an empty folder.</returns>
    public Task<bool> ReadAsync(SourceOptions source, Sink sink, CancellationToken cancellationToken) => source.Kind switch
    {
        "csv" => files.ReadAsync(source, sink, cancellationToken),
        "agent" => agents.ReadAsync(source, sink, cancellationToken),
        "fhir" => fhir.ReadAsync(source, sink, cancellationToken),
        "rest" => openMrs.ReadAsync(source, sink, cancellationToken),
        "mqtt" or "push" => Task.FromResult(passive.Take(source.Name, sink)),
        "snmp" => snmp.ReadAsync(source, sink, cancellationToken),
        "redfish" => redfish.ReadAsync(source, sink, cancellationToken),
        "dicom" => dicom.ReadAsync(source, sink, cancellationToken),
        SourceOptions.NodeName => self.ReadAsync(sink, cancellationToken),
        _ => throw new System.Diagnostics.UnreachableException(source.Kind),
    };
}
