using System.CommandLine;
using System.Net.Http.Json;

namespace Yizhan.Cli;

/// <summary><c>yizhan audit keys</c>, <c>erase</c> and <c>hold</c>.</summary>
internal static class AuditSubjectCommands
{
    public static Command CreateKeys()
    {
        var command = new Command("keys", """
            Prints the key of the log, how many subjects can be read and were erased, and the legal holds.

            Examples:
              yizhan audit keys
              yizhan audit keys --json | tail -n 1 | jq -r .logKey > log.vkey
            """);
        command.SetAction((parsed, cancellationToken) => AuditCommand.RunAsync(parsed, async http =>
        {
            using var keyAnswer = await http.GetAsync("key", cancellationToken);
            await AuditCommand.EnsureAsync(keyAnswer, cancellationToken);
            var logKey = (await keyAnswer.Content.ReadAsStringAsync(cancellationToken)).Trim();
            var subjects = await AuditCommand.JsonOf(await http.GetAsync("subjects", cancellationToken), cancellationToken);
            if (parsed.GetValue(AuditCommand.Json))
            {
                Console.WriteLine($$"""{"logKey":"{{logKey}}","subjects":{{subjects.GetRawText()}}}""");
                return 0;
            }

            Console.WriteLine($"Key of the log: {logKey}\nSubjects: {subjects.GetProperty("keys")}, erased: {subjects.GetProperty("destroyed")}");
            AuditCommand.PrintTable(
                ["legal hold", "reason"], subjects.GetProperty("holds").EnumerateArray().Select(h => new[] { h.GetProperty("subject").GetString()!, h.GetProperty("reason").GetString()! }));
            return 0;
        }));
        return command;
    }

    public static Command CreateErase()
    {
        var (subject, agent, reason) = Arguments("Whose records can never be read again: patient/… or study/…");
        var command = new Command("erase", """
            Destroys the key of a subject: its records can never be read again, here, and the search forgets them. Every proof stays. A legal
            hold forbids it. Copies at other nodes and backups of the key store are erased there.

            Examples:
              yizhan audit erase patient/4711 --agent dpo --reason "request 12"
            """) { subject, agent, reason };
        command.SetAction((parsed, cancellationToken) => AuditCommand.RunAsync(parsed, async http =>
        {
            using var answer = await http.PostAsJsonAsync(
                $"subjects/erase?subject={Uri.EscapeDataString(parsed.GetValue(subject)!)}", new { agent = parsed.GetValue(agent), reason = parsed.GetValue(reason) }, cancellationToken);
            await AuditCommand.EnsureAsync(answer, cancellationToken);
            Console.WriteLine(parsed.GetValue(AuditCommand.Json) ? """{"accepted":true}""" : "The order is durable; the key is destroyed with the next commit of the log.");
            return 0;
        }));
        return command;
    }

    public static Command CreateHold()
    {
        var (subject, agent, reason) = Arguments("What neither expires nor is erased: patient/…, study/…, or '*' for all.");
        reason.Required = false;
        var release = new Option<bool>("--release") { Description = "Ends the hold." };
        var command = new Command("hold", """
            Sets or ends a legal hold. Both are recorded.

            Examples:
              yizhan audit hold patient/4711 --agent counsel --reason "case 12"
              yizhan audit hold patient/4711 --agent counsel --release
            """) { subject, agent, reason, release };
        command.SetAction((parsed, cancellationToken) => AuditCommand.RunAsync(parsed, async http =>
        {
            var query = $"holds?subject={Uri.EscapeDataString(parsed.GetValue(subject)!)}";
            using var answer = parsed.GetValue(release)
                ? await http.DeleteAsync($"{query}&agent={Uri.EscapeDataString(parsed.GetValue(agent)!)}", cancellationToken)
                : await http.PutAsJsonAsync(query, new { agent = parsed.GetValue(agent), reason = parsed.GetValue(reason) ?? "" }, cancellationToken);
            await AuditCommand.EnsureAsync(answer, cancellationToken);
            Console.WriteLine(parsed.GetValue(AuditCommand.Json) ? """{"ok":true}""" : parsed.GetValue(release) ? "The hold has ended." : "The hold is set.");
            return 0;
        }));
        return command;
    }

    private static (Argument<string> Subject, Option<string> Agent, Option<string> Reason) Arguments(string description) => (
        new Argument<string>("subject") { Description = description },
        new Option<string>("--agent") { Description = "Who orders it; recorded.", Required = true },
        new Option<string>("--reason") { Description = "Why, without naming the person; recorded.", Required = true });
}
