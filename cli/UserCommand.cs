using System.CommandLine;
using System.Net.Http.Json;
using System.Text.Json;
using Yizhan.Contracts;

namespace Yizhan.Cli;

/// <summary><c>yizhan user</c>: who can sign in at the embedded issuer.</summary>
internal static class UserCommand
{
    private static readonly Option<Uri> Node = new("--node")
    {
        Description = "Web address of the node with the issuer.",
        DefaultValueFactory = _ => new Uri("http://127.0.0.1:8080/"),
        CustomParser = NodeClient.Address,
        Recursive = true,
    };

    private static readonly Option<bool> Json = new("--json") { Description = "Print one JSON object.", Recursive = true };

    private static readonly Argument<string> Name = new("name") { Description = "User name: 2 to 64 of a-z 0-9 . _ -" };

    private static readonly Option<string[]> Roles = new("--roles")
    {
        Description = "Roles at sites, such as radiographer@lakeside or auditor@*.",
        Required = true,
        AllowMultipleArgumentsPerToken = true,
    };

    public static Command Create()
    {
        var display = new Option<string>("--display") { Description = "What a page calls them.", DefaultValueFactory = _ => "" };
        var enable = new Option<bool>("--enable") { Description = "Open the account again." };
        var add = new Command("add", "Adds somebody and prints their first password, this once.\n\nExamples:\n  yizhan user add wang --roles radiographer@lakeside --display 'Wang Xiaodong'") { Name, Roles, display };
        var list = new Command("list", "Lists everybody who can sign in.\n\nExamples:\n  yizhan user list --json | jq '.users[].name'");
        var disable = new Command("disable", "Closes an account: it signs in no more, and its tokens are renewed no more.\n\nExamples:\n  yizhan user disable wang\n  yizhan user disable wang --enable") { Name, enable };
        var roles = new Command("roles", "Replaces the roles of somebody.\n\nExamples:\n  yizhan user roles wang --roles radiographer@lakeside auditor@*") { Name, Roles };
        add.SetAction((parsed, cancel) => RunAsync(parsed, http => AddAsync(http, parsed, parsed.GetValue(display)!, cancel)));
        list.SetAction((parsed, cancel) => RunAsync(parsed, http => ListAsync(http, parsed, cancel)));
        disable.SetAction((parsed, cancel) => RunAsync(parsed, async http =>
        {
            var disabled = !parsed.GetValue(enable);
            using var answer = await http.PutAsync($"/auth/users/{Escaped(parsed)}/disabled?disabled={(disabled ? "true" : "false")}", null, cancel);
            return await DoneAsync(answer, parsed, disabled ? "closed" : "open", cancel);
        }));
        roles.SetAction((parsed, cancel) => RunAsync(parsed, async http =>
        {
            using var answer = await http.PutAsJsonAsync($"/auth/users/{Escaped(parsed)}/roles", (IReadOnlyList<string>)parsed.GetValue(Roles)!, ContractsJson.Default.IReadOnlyListString, cancel);
            return await DoneAsync(answer, parsed, string.Join(' ', parsed.GetValue(Roles)!), cancel);
        }));
        return new Command("user", "Adds, lists and closes the accounts of the embedded issuer.") { Node, Json, add, list, disable, roles };
    }

    private static Task<int> RunAsync(ParseResult parsed, Func<HttpClient, Task<int>> run) => NodeClient.RunAsync(parsed.GetValue(Node)!, run);

    private static async Task<int> AddAsync(HttpClient http, ParseResult parsed, string display, CancellationToken cancellationToken)
    {
        using var answer = await http.PostAsJsonAsync(
            "/auth/users", new NewUser(parsed.GetValue(Name)!, display, parsed.GetValue(Roles)!), ContractsJson.Default.NewUser, cancellationToken);
        await NodeClient.ThrowIfRefusedAsync(answer, cancellationToken);
        var added = (await answer.Content.ReadFromJsonAsync(ContractsJson.Default.NewUserView, cancellationToken))!;
        Console.WriteLine(parsed.GetValue(Json)
            ? JsonSerializer.Serialize(added, ContractsJson.Default.NewUserView)
            : $"{added.Name} signs in with {added.Password} and then chooses a password of their own. It is not shown again.");
        return 0;
    }

    private static async Task<int> ListAsync(HttpClient http, ParseResult parsed, CancellationToken cancellationToken)
    {
        using var answer = await http.GetAsync("/auth/users", cancellationToken);
        await NodeClient.ThrowIfRefusedAsync(answer, cancellationToken);
        var users = (await answer.Content.ReadFromJsonAsync(ContractsJson.Default.IReadOnlyListUserView, cancellationToken))!;
        if (parsed.GetValue(Json))
        {
            Console.WriteLine($$"""{"users":{{JsonSerializer.Serialize(users, ContractsJson.Default.IReadOnlyListUserView)}}}""");
            return 0;
        }

        foreach (var user in users)
        {
            Console.WriteLine($"{user.Name,-20} {string.Join(' ', user.Roles)}{(user.Disabled ? "  closed" : "")}{(user.MustChange ? "  has not chosen a password yet" : "")}");
        }

        return 0;
    }

    private static async Task<int> DoneAsync(HttpResponseMessage answer, ParseResult parsed, string now, CancellationToken cancellationToken)
    {
        await NodeClient.ThrowIfRefusedAsync(answer, cancellationToken);
        Console.WriteLine(parsed.GetValue(Json) ? JsonSerializer.Serialize(new { name = parsed.GetValue(Name), now }) : $"{parsed.GetValue(Name)}: {now}");
        return 0;
    }

    private static string Escaped(ParseResult parsed) => Uri.EscapeDataString(parsed.GetValue(Name)!);
}
