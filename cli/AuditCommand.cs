using System.CommandLine;
using System.Net.Http.Json;
using System.Text.Json;
using Spectre.Console;

namespace Yizhan.Cli;

/// <summary><c>yizhan audit</c>: ask, prove, verify and look after the audit log of a node.</summary>
internal static class AuditCommand
{
    /// <summary>Where the node is.</summary>
    public static readonly Option<string> Url = new("--url")
    {
        Description = "Address of the node.",
        DefaultValueFactory = _ => "http://127.0.0.1:8080/",
        Recursive = true,
    };

    public static readonly Option<bool> Json = new("--json") { Description = "The last line of the output is one JSON object.", Recursive = true };

    public static Command Create() => new("audit", "Searches, proves and verifies the audit log of a node, and erases persons from it.")
    {
        Url,
        Json,
        AuditVerifyCommand.Create(),
        AuditEvidenceCommand.Create(),
        AuditSearchCommand.CreateSearch(),
        AuditSearchCommand.CreateExport(),
        AuditSubjectCommands.CreateKeys(),
        AuditSubjectCommands.CreateErase(),
        AuditSubjectCommands.CreateHold(),
    };

    /// <summary>Runs the work of a command: what the node refuses, and what cannot be reached, is one line on standard error and an exit code.</summary>
    public static async Task<int> RunAsync(ParseResult parsed, Func<HttpClient, Task<int>> work)
    {
        if (!Uri.TryCreate(parsed.GetValue(Url), UriKind.Absolute, out var url) || url.Scheme is not ("http" or "https"))
        {
            await Console.Error.WriteLineAsync($"yizhan: --url is '{parsed.GetValue(Url)}'; accepted: http:// or https:// and a host, such as http://127.0.0.1:8080/.");
            return CommandLine.WrongUse;
        }

        using var http = Tokens.Client(new Uri(url, "audit/"));
        try
        {
            return await work(http);
        }
        catch (HttpRequestException e)
        {
            await Console.Error.WriteLineAsync($"yizhan: {http.BaseAddress} does not answer: {e.Message}");
            return CommandLine.Failed;
        }
        catch (RefusedException e)
        {
            await Console.Error.WriteLineAsync($"yizhan: {e.Message}");
            return CommandLine.Failed;
        }
        catch (Exception e) when (e is InvalidDataException or IOException or UnauthorizedAccessException)
        {
            await Console.Error.WriteLineAsync($"yizhan: {e.Message}");
            return CommandLine.Failed;
        }
    }

    /// <summary>The answer's body as JSON.</summary>
    /// <exception cref="RefusedException">The node said no.</exception>
    public static async Task<JsonElement> JsonOf(HttpResponseMessage answer, CancellationToken cancellationToken)
    {
        await EnsureAsync(answer, cancellationToken);
        return await answer.Content.ReadFromJsonAsync<JsonElement>(cancellationToken);
    }

    /// <summary>Turns a problem (RFC 9457) into its sentence.</summary>
    public static async Task EnsureAsync(HttpResponseMessage answer, CancellationToken cancellationToken)
    {
        if (!answer.IsSuccessStatusCode)
        {
            var body = await answer.Content.ReadAsStringAsync(cancellationToken);
            var detail = answer.Content.Headers.ContentType?.MediaType == "application/problem+json"
                && JsonDocument.Parse(body).RootElement.TryGetProperty("detail", out var text) ? text.GetString() : null;
            throw new RefusedException((int)answer.StatusCode, detail ?? $"The node answered {(int)answer.StatusCode}.");
        }
    }

    public static void PrintTable(string[] columns, IEnumerable<string[]> rows)
    {
        var table = new Table().Border(TableBorder.Simple).AddColumns(columns);
        foreach (var row in rows)
        {
            table.AddRow([.. row.Select(Markup.Escape)]);
        }

        AnsiConsole.Write(table);
    }
}

/// <summary>The node refused, and said why.</summary>
internal sealed class RefusedException(int status, string message) : Exception(message)
{
    public int Status { get; } = status;
}
