using System.Security.Claims;
using Microsoft.AspNetCore;
using Microsoft.AspNetCore.Antiforgery;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Http.HttpResults;
using OpenIddict.Abstractions;
using OpenIddict.Server.AspNetCore;
using Yizhan.Platform.Identity;

namespace Yizhan.Auth;

/// <summary>Where people sign in with a browser, for the console and for programs that send them here.</summary>
internal static class SignInEndpoints
{
    /// <summary>Maps the pages at the root: they are the node's, not one service's.</summary>
    public static void MapPages(IEndpointRouteBuilder routes)
    {
        const string why = "Signing in is how somebody gets a name; attempts are counted, wrong ones close the account for a while.";
        routes.MapGet("/sign-in", (HttpContext context, string? back) => Pages.SignIn(context, PlainPage.Local(back))).ExcludeFromDescription().OpenToAll(why);
        routes.MapGet("/sign-in/done", (Delegate)Pages.Done).ExcludeFromDescription().OpenToAll("Says that it is done.");
        routes.MapPost("/sign-in", (Delegate)SignInAsync).ExcludeFromDescription().OpenToAll(why);
        routes.MapPost("/sign-in/password", (Delegate)ChangeAsync).ExcludeFromDescription().OpenToAll(why);
    }

    /// <summary>Maps OpenID Connect: what comes here was checked by OpenIddict first.</summary>
    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapMethods("/authorize", ["GET", "POST"], (Delegate)AuthorizeAsync).OpenToAll("Sends who has not signed in to the page where they do (OpenID Connect Core §3.1.2).");
        routes.MapPost("/token", (HttpContext context, Grants grants) => grants.TokenAsync(context)).OpenToAll("Clients authenticate in the request itself (RFC 6749 §2.3).");
        routes.MapMethods("/device", ["GET", "POST"], (Delegate)DeviceAsync).OpenToAll("Sends who has not signed in to the page where they do (RFC 8628 §3.3).");
    }

    private static async Task<IResult> SignInAsync(HttpContext context, People people)
    {
        if (await PlainPage.FormAsync(context) is not { } form)
        {
            return Pages.SignIn(context, "/", problem: "expired");
        }

        var (name, back) = (form["name"].ToString().Trim(), PlainPage.Local(form["back"]));
        var address = context.Connection.RemoteIpAddress?.ToString() ?? "unknown";
        if (!people.MayTry(address))
        {
            return Pages.SignIn(context, back, name, "closed");
        }

        var (outcome, person) = await people.SignInAsync(name, form["password"].ToString(), address, context.RequestAborted);
        switch (outcome)
        {
            case SignInOutcome.Welcome:
                await Session.SignInAsync(context, ClaimsOf(person!));
                return TypedResults.LocalRedirect(back);
            case SignInOutcome.MustChange:
                return Pages.Change(context, back, name);
            default:
                return Pages.SignIn(context, back, name, outcome == SignInOutcome.Closed ? "closed" : "wrong");
        }
    }

    private static async Task<IResult> ChangeAsync(HttpContext context, People people)
    {
        if (await PlainPage.FormAsync(context) is not { } form)
        {
            return Pages.SignIn(context, "/", problem: "expired");
        }

        var (name, back, old) = (form["name"].ToString().Trim(), PlainPage.Local(form["back"]), form["password"].ToString());
        var address = context.Connection.RemoteIpAddress?.ToString() ?? "unknown";
        if (form["new"] != form["again"])
        {
            return Pages.Change(context, back, name, "differ");
        }

        if (!people.MayTry(address))
        {
            return Pages.Change(context, back, name, "closed");
        }

        var (outcome, _) = await people.SignInAsync(name, old, address, context.RequestAborted);
        if (outcome is SignInOutcome.Wrong or SignInOutcome.Closed)
        {
            return Pages.Change(context, back, name, outcome == SignInOutcome.Closed ? "closed" : "wrong");
        }

        if (await people.ChangePasswordAsync(name, old, form["new"].ToString(), context.RequestAborted) is not null)
        {
            return Pages.Change(context, back, name, "weak");
        }

        var person = await people.FindAsync(name, context.RequestAborted);
        await Session.SignInAsync(context, ClaimsOf(person!));
        return TypedResults.LocalRedirect(back);
    }

    private static async Task<IResult> AuthorizeAsync(HttpContext context, People people, Grants grants)
    {
        var request = context.GetOpenIddictServerRequest() ?? throw new InvalidOperationException("This is no request to the authorization endpoint.");
        return await PersonAsync(context, people) is { } person
            ? Results.SignIn(grants.Of(person, request.GetScopes()), authenticationScheme: OpenIddictServerAspNetCoreDefaults.AuthenticationScheme)
            : ToSignIn(context);
    }

    /// <summary>RFC 8628: shows the code, and on POST lets the program in as who has signed in here.</summary>
    private static async Task<IResult> DeviceAsync(HttpContext context, People people, Grants grants, IAntiforgery forgery)
    {
        if (await PersonAsync(context, people) is not { } person)
        {
            return ToSignIn(context);
        }

        var request = context.GetOpenIddictServerRequest();
        var code = request?.UserCode ?? "";
        if (HttpMethods.IsGet(context.Request.Method))
        {
            return Pages.Device(context, code);
        }

        var asked = await context.AuthenticateAsync(OpenIddictServerAspNetCoreDefaults.AuthenticationScheme);
        if (!await forgery.IsRequestValidAsync(context) || asked.Principal is not { } device || device.GetClaim(OpenIddictConstants.Claims.ClientId) is not { Length: > 0 })
        {
            return Pages.Device(context, "", "bad-code");
        }

        return Results.SignIn(grants.Of(person, device.GetScopes()), new AuthenticationProperties { RedirectUri = "/sign-in/done" },
            OpenIddictServerAspNetCoreDefaults.AuthenticationScheme);
    }

    /// <summary>Who has a session here and still may have one.</summary>
    private static async Task<Person?> PersonAsync(HttpContext context, People people)
    {
        var session = await context.AuthenticateAsync(Session.Scheme);
        return session.Principal?.FindFirstValue("sub") is { } name && await people.FindAsync(name, context.RequestAborted) is { MustChange: false } person
            && session.Principal.FindFirstValue("stamp") == person.Stamp
            ? person
            : null;
    }

    private static RedirectHttpResult ToSignIn(HttpContext context)
    {
        // What was posted is asked again as a query: the page comes back by a GET.
        var query = HttpMethods.IsPost(context.Request.Method) && context.Request.HasFormContentType
            ? QueryString.Create(context.Request.Form.Where(f => !f.Key.StartsWith("__", StringComparison.Ordinal)))
            : context.Request.QueryString;
        return TypedResults.LocalRedirect($"/sign-in?back={Uri.EscapeDataString(context.Request.Path + query)}");
    }

    private static IEnumerable<Claim> ClaimsOf(Person person) =>
    [
        new("sub", person.Name), new("name", person.DisplayName.Length > 0 ? person.DisplayName : person.Name), new("stamp", person.Stamp),
        .. person.Roles.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(role => new Claim("roles", role)),
    ];
}
