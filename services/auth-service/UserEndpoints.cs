using Microsoft.AspNetCore.Http.HttpResults;
using Yizhan.Contracts;
using Yizhan.Platform.Identity;

namespace Yizhan.Auth;

/// <summary>Adding, listing and closing accounts: <c>yizhan user</c>.</summary>
internal static class UserEndpoints
{
    public static void Map(IEndpointRouteBuilder routes)
    {
        var users = routes.MapGroup("/users").Needs(Permission.ManageUsers);
        users.MapGet("", async (People people, CancellationToken cancel) => TypedResults.Ok<IReadOnlyList<UserView>>([.. (await people.ListAsync(cancel)).Select(View)]))
            .WithSummary("Everybody who can sign in");
        users.MapPost("", AddAsync).WithSummary("Adds somebody; the answer has the first password, which they have to replace");
        users.MapPut("/{name}/roles", SetRolesAsync).WithSummary("Replaces the roles");
        users.MapPut("/{name}/disabled", SetDisabledAsync).WithSummary("Closes an account, or opens it again");
        routes.MapGet("/sites/{site}/accounts", DirectoryAsync).WithSummary("Who may sign in at a site without the centre; for the fleet service")
            .Needs(Permission.ReadAccounts, "site");
    }

    /// <summary>
    /// Who has a role at the site and has chosen a password. No admin: a box that is stolen has hashes of those who work there and of nobody who
    /// may do everything.
    /// </summary>
    private static async Task<Ok<SiteDirectory>> DirectoryAsync(string site, HttpContext context, People people, IssuerKeys keys, CancellationToken cancellationToken)
    {
        context.Response.Headers.CacheControl = "no-store";
        var accounts = (await people.ListAsync(cancellationToken)).Where(p => !p.Disabled && !p.MustChange)
            .Select(p => (Person: p, Roles: RolesAt(p, site)))
            .Where(p => p.Roles.Length > 0)
            .Take(AccountList.MaxAccounts)
            .Select(p => new DirectoryAccount(p.Person.Name, PasswordFormat.ToPinHash(p.Person.PasswordHash), p.Roles));
        return TypedResults.Ok(new SiteDirectory(keys.Issuer, keys.Set(), [.. accounts]));
    }

    private static string[] RolesAt(Person person, string site) =>
        [.. person.Roles.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(role => role.Split('@'))
            .Where(role => role is [var name, var at] && name != Roles.Admin && (at == site || at == "*")).Select(role => role[0]).Distinct()];

    private static async Task<Results<Created<NewUserView>, ProblemHttpResult>> AddAsync(NewUser user, HttpContext context, People people, CancellationToken cancellationToken)
    {
        if (!Person.IsName(user.Name))
        {
            return Problem(400, $"'{user.Name}' is no user name; accepted are 2 to 64 of a-z 0-9 . _ -, beginning with a letter or digit.");
        }

        if (WrongRole(user.Roles) is { } wrong)
        {
            return Problem(400, wrong);
        }

        return await people.AddAsync(user.Name, user.DisplayName, string.Join(' ', user.Roles), Caller.AgentOf(context), cancellationToken) is { } password
            ? TypedResults.Created($"/auth/users/{user.Name}", new NewUserView(user.Name, password))
            : Problem(409, $"There is a '{user.Name}' already.");
    }

    private static async Task<Results<NoContent, ProblemHttpResult>> SetRolesAsync(
        string name, IReadOnlyList<string> roles, HttpContext context, People people, CancellationToken cancellationToken) =>
        WrongRole(roles) is { } wrong ? Problem(400, wrong)
        : await people.SetRolesAsync(name, string.Join(' ', roles), Caller.AgentOf(context), cancellationToken) ? TypedResults.NoContent()
        : Problem(404, $"There is no '{name}'.");

    private static async Task<Results<NoContent, ProblemHttpResult>> SetDisabledAsync(
        string name, bool disabled, HttpContext context, People people, CancellationToken cancellationToken) =>
        await people.SetDisabledAsync(name, disabled, Caller.AgentOf(context), cancellationToken) ? TypedResults.NoContent() : Problem(404, $"There is no '{name}'.");

    private static string? WrongRole(IReadOnlyList<string> roles) =>
        roles.FirstOrDefault(role => !Person.IsRole(role)) is { } wrong ? Person.WrongRole(wrong) : null;

    private static UserView View(Person person) => new(person.Name, person.DisplayName, person.Roles.Split(' ', StringSplitOptions.RemoveEmptyEntries), person.Disabled, person.MustChange);

    private static ProblemHttpResult Problem(int status, string detail) => TypedResults.Problem(detail, statusCode: status);
}
