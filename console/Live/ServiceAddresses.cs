using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.Options;

namespace Yizhan.Console.Live;

/// <summary>Base addresses of the services: the configured ones, else the address on which this node itself listens.</summary>
internal sealed class ServiceAddresses(IOptions<ConsoleOptions> options, IServer server)
{
    /// <summary>Known only after the start: port 0 has become a real one then.</summary>
    public Uri Fleet => Base(options.Value.FleetUrl);

    /// <inheritdoc cref="Fleet"/>
    public Uri Pacs => Base(options.Value.PacsUrl);

    /// <inheritdoc cref="Fleet"/>
    public Uri Emr => Base(options.Value.EmrUrl);

    /// <inheritdoc cref="Fleet"/>
    public Uri Auth => Base(options.Value.AuthUrl);

    /// <inheritdoc cref="Fleet"/>
    public Uri Audit => Base(options.Value.AuditUrl);

    /// <inheritdoc cref="Fleet"/>
    public Uri Inventory => Base(options.Value.InventoryUrl);

    /// <inheritdoc cref="Fleet"/>
    public Uri Station => Base(options.Value.StationUrl);

    /// <inheritdoc cref="Fleet"/>
    public Uri Ai => Base(options.Value.AiUrl);

    private Uri Base(string configured)
    {
        var address = configured.Length > 0 ? configured : server.Features.Get<IServerAddressesFeature>()!.Addresses.First();
        return new Uri(address.EndsWith('/') ? address : address + "/");
    }
}
