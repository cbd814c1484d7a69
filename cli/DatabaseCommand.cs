using System.CommandLine;
using Yizhan.Storage;

namespace Yizhan.Cli;

/// <summary><c>yizhan database</c>: what an administrator of PostgreSQL needs for a centre.</summary>
internal static class DatabaseCommand
{
    public static Command Create()
    {
        var schema = new Option<string>("--schema") { Description = "Name of the schema, as storage:postgresSchema.", DefaultValueFactory = _ => "event_log" };
        schema.Validators.Add(result =>
        {
            if (!System.Text.RegularExpressions.Regex.IsMatch(result.GetValueOrDefault<string>(), "^[a-z][a-z0-9_]{0,40}$"))
            {
                result.AddError($"'{result.GetValueOrDefault<string>()}' is no schema: 1 to 41 characters of a-z, 0-9 and '_', a letter first.");
            }
        });
        var json = new Option<bool>("--json") { Description = "Print one JSON object with the SQL." };
        var sql = new Command("sql", """
            Prints the SQL that makes schema, roles, rights and tables of a centre's log, and brings an older schema forward. It may be run again, and holds no password.

            Examples:
              yizhan database sql | psql -v ON_ERROR_STOP=1 -1 -d yizhan -f -
              psql -d yizhan -c "\password yizhan_event_log"
            """) { schema, json };
        sql.SetAction(parsed =>
        {
            var script = PostgresSchema.Script(parsed.GetValue(schema)!);
            Console.WriteLine(parsed.GetValue(json) ? System.Text.Json.JsonSerializer.Serialize(new { sql = script }) : script);
            return 0;
        });
        var command = new Command("database", "PostgreSQL of a centre (docs/operations/production.md).");
        command.Subcommands.Add(sql);
        foreach (var other in DatabaseArchiveCommand.Create())
        {
            command.Subcommands.Add(other);
        }

        return command;
    }
}
