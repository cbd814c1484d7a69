using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;

namespace Yizhan.Platform.Flows;

/// <summary>A <see cref="ConnectionTable"/> for the endpoints of a web server.</summary>
public static class ConnectionPlaces
{
    private static readonly object s_place = new();

    /// <summary>Gives each connection a place, before anything of it is read.</summary>
    public static void UsePlaces(this IConnectionBuilder builder, ConnectionTable table) => builder.Use(next => async connection =>
    {
        using var place = Enter(connection, table);
        if (place is not null)
        {
            await next(connection);
        }
    });

    /// <summary>Whoever comes this far, behind TLS that asks for a certificate, is known.</summary>
    public static void UseProof(this IConnectionBuilder builder) => builder.Use(next => connection =>
    {
        Prove(connection.Items);
        return next(connection);
    });

    /// <summary>The same with the first request, where nothing can stand between TLS and the server.</summary>
    internal static void UseProof(this WebApplication app) => app.Use((context, next) =>
    {
        if (context.Features.Get<IConnectionItemsFeature>() is { } connection)
        {
            Prove(connection.Items);
        }

        return next(context);
    });

    /// <summary>A place, which is given back by who disposes it; null: there is none, and the connection is cut.</summary>
    internal static ConnectionTable.Place? Enter(ConnectionContext connection, ConnectionTable table)
    {
        var place = table.Enter((connection.RemoteEndPoint as IPEndPoint)?.Address, () => connection.Abort(new ConnectionAbortedException("It made room for another.")));
        if (place is null)
        {
            connection.Abort(new ConnectionAbortedException("All places are taken."));
        }
        else
        {
            connection.Items[s_place] = place;
        }

        return place;
    }

    private static void Prove(IDictionary<object, object?> items) => (items.TryGetValue(s_place, out var place) ? place as ConnectionTable.Place : null)?.Prove();
}
