using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Yizhan.Cli;

/// <summary>The <c>yizhan</c> command: its verbs, and how each of them ends.</summary>
internal static class CommandLine
{
    private const string JsonName = "--json";

    /// <summary>Done.</summary>
    public const int Ok = 0;

    /// <summary>Not done, or what was asked for is not so; standard error says why.</summary>
    public const int Failed = 1;

    /// <summary>Called in a way that no call of it can be right.</summary>
    public const int WrongUse = 2;

    /// <summary>Ended by Ctrl+C, as a shell counts it.</summary>
    public const int Stopped = 130;

    /// <summary>All verbs. A command that has no figures of its own has <c>--json</c> from here.</summary>
    public static RootCommand Root()
    {
        var root = new RootCommand("Yizhan 驿站: a clinical platform for sites with an unreliable link.")
        {
            UpCommand.Create(),
            SimCommand.Create(),
            DatabaseCommand.Create(),
            DemoCommand.Create(),
            SpoolCommand.Create(),
            UpdateCommand.Create(),
            BackupCommand.Create(),
            BackupCommand.CreateVerify(),
            BackupCommand.CreateRestore(),
            DrillCommand.Create(),
            SiteCommand.Create(),
            LogsCommand.Create(),
            CertificateCommands.Enrol(),
            CertificateCommands.Certificate(),
            LicenceCommand.Create(),
            WireGuardCommand.Create(),
            AuditCommand.Create(),
            ModelCommand.Create(),
            AsrCommand.Create(),
            TranslateCommand.Create(),
            InventoryCommand.Create(),
            ConfigCommand.Create(),
            DicomCommand.Create(),
            EmrCommand.Create(),
            SecretsCommand.Create(),
            OpenCommand.Create(),
            LoginCommand.Create(),
            UserCommand.Create(),
            Tokens.File,
        };
        foreach (var command in Leaves(root))
        {
            if (OptionsOf(command).All(o => o.Name != JsonName))
            {
                command.Options.Add(new PlainJson());
            }

            if (command.Description!.Contains("Examples:", StringComparison.Ordinal) is false && command.Parents.First() is Command group)
            {
                // The group's own list has them.
                var call = $"yizhan {string.Join(' ', PathOf(command))}";
                command.Description += "\n\nExamples:\n" + string.Join('\n', group.Description!.Split('\n').Where(line => line.Trim().StartsWith(call, StringComparison.Ordinal)));
            }
        }

        return root;
    }

    /// <summary>The commands that do something: those without commands below them, and <c>demo</c>, which is both.</summary>
    public static IEnumerable<Command> Leaves(Command command) =>
        (command.Action is null ? [] : new[] { command }).Concat(command.Subcommands.SelectMany(Leaves));

    /// <summary>The options that a command takes: its own, and those of all commands of a group above it.</summary>
    public static IEnumerable<Option> OptionsOf(Command command) =>
        command.Options.Concat(command.Parents.OfType<Command>().SelectMany(group => OptionsOf(group).Where(o => o.Recursive)));

    /// <summary>Runs one command line. Whatever happens, standard error says what was wrong with which value, and with <c>--json</c> the last line of the output is one JSON object.</summary>
    /// <returns><see cref="Ok"/>, <see cref="Failed"/>, <see cref="WrongUse"/>, <see cref="Stopped"/>; the commands that somebody else's program calls have codes of its own.</returns>
    public static async Task<int> RunAsync(string[] arguments)
    {
        // What is printed is English and for programs too: no comma in a number, whatever the locale is.
        CultureInfo.CurrentCulture = CultureInfo.CurrentUICulture = CultureInfo.DefaultThreadCurrentCulture = CultureInfo.DefaultThreadCurrentUICulture = CultureInfo.InvariantCulture;
        var parsed = Root().Parse(arguments);
        Tokens.Read(parsed);
        if (!arguments.Contains(JsonName) || parsed.Action is HelpAction)
        {
            return await InvokeAsync(parsed);
        }

        var (output, error) = (Console.Out, Console.Error);
        using var said = new Remembering(error);
        using var printed = parsed.CommandResult.Command.Options.OfType<PlainJson>().Any() ? new Remembering(TextWriter.Null) : new Remembering(output);
        Console.SetOut(printed);
        Console.SetError(said);
        try
        {
            var code = await InvokeAsync(parsed);
            if (code is Ok && printed.Passes == TextWriter.Null)
            {
                output.WriteLine(JsonSerializer.Serialize(new { output = printed.Text.TrimEnd() }, CliJson.Options));
            }
            else if (!IsObject(printed.LastLine))
            {
                output.WriteLine(JsonSerializer.Serialize(new { error = said.Text.Trim(), exitCode = code }, CliJson.Options));
            }

            return code;
        }
        finally
        {
            Console.SetOut(output);
            Console.SetError(error);
        }
    }

    private static async Task<int> InvokeAsync(ParseResult parsed)
    {
        // The library takes a mistyped option for an argument, such as a file of that name. After "--" one is meant.
        if (parsed.Action is not HelpAction && parsed.CommandResult.Command.Action is not null && !parsed.Tokens.Any(t => t.Type == TokenType.DoubleDash)
            && parsed.CommandResult.Tokens.FirstOrDefault(t => t.Type == TokenType.Argument && t.Value.StartsWith("--", StringComparison.Ordinal)) is { } mistyped)
        {
            return Explain(parsed, $"'{mistyped.Value}' is no option of yizhan {string.Join(' ', PathOf(parsed.CommandResult.Command))}; accepted: "
                + $"{string.Join(", ", OptionsOf(parsed.CommandResult.Command).Select(o => o.Name))}. A value that begins so stands behind '--'.");
        }

        if (parsed.Action is ParseErrorAction)
        {
            return Explain(parsed);
        }

        try
        {
            // Ctrl+C stops the nodes in order before this process ends; the library's own patience of two seconds would orphan them.
            return await parsed.InvokeAsync(new InvocationConfiguration
            {
                Output = Console.Out,
                Error = Console.Error,
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = TimeSpan.FromSeconds(40),
            });
        }
        catch (OperationCanceledException)
        {
            await Console.Error.WriteLineAsync("yizhan: stopped.");
            return Stopped;
        }
        catch (Exception e) when (Environment.GetEnvironmentVariable("YIZHAN_TRACE") is null)
        {
            // The last stop of every error that no command knows; a stack is for developers.
            await Console.Error.WriteLineAsync($"yizhan: {e.Message} ({e.GetType().Name}; YIZHAN_TRACE=1 shows where)");
            return Failed;
        }
    }

    /// <summary>Says what is wrong with a command line, one line for each error, and where the right form stands.</summary>
    private static int Explain(ParseResult parsed, string? problem = null)
    {
        var command = parsed.CommandResult.Command;
        var path = string.Join(' ', PathOf(command).Prepend("yizhan"));
        var unknown = parsed.UnmatchedTokens is [var first, ..] ? $"'{first}' is no command of {path}; accepted" : $"{path} needs a command";
        string[] problems = problem is not null ? [problem]
            : command.Action is null ? [$"{unknown}: {string.Join(", ", command.Subcommands.Select(c => c.Name))}."]
            : [.. parsed.Errors.Select(e => Readable(e.Message)).Distinct()];
        foreach (var line in problems)
        {
            Console.Error.WriteLine($"yizhan: {line}");
        }

        Console.Error.WriteLine($"How it is called, with examples: {path} --help");
        return WrongUse;
    }

    /// <summary>The words by which a command is called, without the program's.</summary>
    public static IEnumerable<string> PathOf(Command command) =>
        command is RootCommand ? [] : PathOf((Command)command.Parents.First()).Append(command.Name);

    /// <summary>The library names types of .NET.</summary>
    private static string Readable(string message) => message
        .Replace("as expected type 'System.Int32'", ": accepted is a whole number", StringComparison.Ordinal)
        .Replace("as expected type 'System.Int64'", ": accepted is a whole number", StringComparison.Ordinal)
        .Replace("as expected type 'System.Double'", ": accepted is a number such as 0.5", StringComparison.Ordinal)
        .Replace("as expected type 'System.Boolean'", ": accepted are true and false", StringComparison.Ordinal);

    private static bool IsObject(string line)
    {
        try
        {
            using var json = JsonDocument.Parse(line);
            return json.RootElement.ValueKind == JsonValueKind.Object;
        }
        catch (JsonException)
        {
            return false;
        }
    }

    /// <summary><c>--json</c> of a command that prints text only.</summary>
    private sealed class PlainJson : Option<bool>
    {
        public PlainJson()
            : base(JsonName) => Description = "Print one JSON object with the output.";
    }

    /// <summary>Passes on what is written, and remembers it.</summary>
    private sealed class Remembering(TextWriter passes) : TextWriter
    {
        /// <summary>A command that prints more than this is not one whose text belongs into one line.</summary>
        private const int MaxCharacters = 16 * 1024 * 1024;

        private readonly StringBuilder _text = new();
        private readonly Lock _lock = new();

        public TextWriter Passes => passes;

        public override Encoding Encoding => passes.Encoding;

        public string Text
        {
            get
            {
                lock (_lock)
                {
                    return _text.ToString();
                }
            }
        }

        public string LastLine => Text.TrimEnd().Split('\n')[^1];

        public override void Write(char value) => Write([value]);

        public override void Write(char[] buffer, int index, int count) => Write(buffer.AsSpan(index, count));

        public override void Write(string? value) => Write(value.AsSpan());

        public override void Write(ReadOnlySpan<char> value)
        {
            lock (_lock)
            {
                passes.Write(value);
                if (_text.Length + value.Length > MaxCharacters)
                {
                    // The last line is what counts.
                    _text.Remove(0, _text.Length / 2);
                }

                _text.Append(value);
            }
        }

        public override void Flush() => passes.Flush();
    }
}
