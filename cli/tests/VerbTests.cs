using System.CommandLine;
using System.Text.Json;

[assembly: CollectionBehavior(CollectionBehavior.CollectionPerAssembly)]

namespace Yizhan.Cli.Tests;

/// <summary>How every verb ends: 0 done, 1 not done, 2 wrong use; an error that names the value; with <c>--json</c> one JSON object last, whatever happened.</summary>
public sealed class VerbTests : IDisposable
{
    /// <summary>A command line for each verb that cannot succeed: {dead} is an address where nobody listens, {none} a file or folder that does not exist, {text} a file with a line of text.</summary>
    private static readonly string[] NotDone =
    [
        "database archive {none} --s3-url {dead} --s3-bucket b --s3-credentials-file {none}",
        "database fetch 000000010000000000000001 {none} --s3-url {dead} --s3-bucket b --s3-credentials-file {none}",
        "database backup --connection-file {none} --s3-url {dead} --s3-bucket b --s3-credentials-file {none}",
        "database backups --s3-url {dead} --s3-bucket b --s3-credentials-file {none}",
        "database restore --to {none} --s3-url {dead} --s3-bucket b --s3-credentials-file {none}",
        "demo --from {none}",
        "spool ls --node {dead}",
        "spool show bulk 17 --node {dead}",
        "spool replay bulk 17 --by me --reason r --node {dead}",
        "spool discard bulk 17 --by me --reason r --node {dead}",
        "spool quarantine bulk 17 --by me --reason r --node {dead}",
        "spool verify --node {dead}",
        "spool verify --data {none}",
        "spool verify --data {text}",
        "spool new-epoch --node {dead}",
        "spool new-epoch --data {none}",
        "spool shred --day 2026-05-04 --by me --reason r --node {dead}",
        "update gate --node {dead}",
        "update allow --by me --reason r --node {dead}",
        "backup --node {dead}",
        "verify-backup --from {none}",
        "verify-backup --from {text}",
        "restore --from {none} --data {none}",
        "site lint {none}",
        "site lint {text}",
        "site diff {none} {text}",
        "site new NOT_A_SITE",
        "site enrol-token lakeside --centre {dead}",
        "site renew {none} --centre {dead}",
        "site renew {text} --centre {dead}",
        "site revoke lakeside --reason r --centre {dead}",
        "enrol --token-file {none}",
        "enrol --token-file {text}",
        "logs lakeside --node {dead}",
        "certificate request --folder {none} --out {none}",
        "certificate install {none} --folder {none}",
        "certificate install {text} --folder {none}",
        "licence keygen {none}/key.pem",
        "licence issue lakeside --key {none} --feature a --sequence 1",
        "licence issue lakeside --key {text} --feature a --sequence 1",
        "licence verify {none} --key {none}",
        "licence verify {text} --key {text}",
        "licence show {none}",
        "licence show {text}",
        "wireguard keys --out {text}",
        "wireguard render {none}",
        "wireguard render {text}",
        "audit verify --offline {none} --key {none}",
        "audit verify --key {none} --url {dead}",
        "audit evidence 1 --key {none} --out {none} --url {dead}",
        "audit search --url {dead}",
        "audit export --out {none} --url {dead}",
        "audit keys --url {dead}",
        "audit erase X --agent me --reason r --url {dead}",
        "audit hold X --agent me --reason r --url {dead}",
        "model list --node {dead}",
        "model add {none} --node {dead}",
        "model add {text} --node {dead}",
        "model pack {none} --name a --version 1.0.0",
        "model test nodule --node {dead}",
        "model promote nodule 1.0.0 --reason r --node {dead}",
        "model hold nodule --reason r --node {dead}",
        "model rollback nodule --reason r --node {dead}",
        "model figures --node {dead}",
        "asr lm {none} {none}",
        "asr lm {text} {none}",
        "asr packs --node {dead}",
        "asr add {none} --node {dead}",
        "asr transcribe {none} --node {dead}",
        "asr transcribe {text} --node {dead}",
        "asr score {none} {none}",
        "asr figures --set {none} --node {dead}",
        "translate hello --target zh --node {dead}",
        "inventory stock --node {dead}",
        "inventory movements --node {dead}",
        "inventory expiring --node {dead}",
        "inventory shortage --node {dead}",
        "inventory recall LOT --node {dead}",
        "inventory count ITEM 3 --node {dead}",
        "inventory export --out {none} --node {dead}",
        "inventory sources --node {dead}",
        "inventory assets --node {dead}",
        "config keygen wang --out {text}",
        "config trust {text} --add {none}",
        "config release --sites {none} --key {none} --note n --centre {dead}",
        "config show config-26.11.1 --centre {dead}",
        "config diff config-26.11.1 --centre {dead}",
        "config verify config-26.11.1 --trust {none} --centre {dead}",
        "config approve config-26.11.1 --key {none} --centre {dead}",
        "config status --centre {dead}",
        "config rollback config-26.11.1 --key {none} --centre {dead}",
        "dicom peers --node {dead}",
        "dicom echo P --node {dead}",
        "dicom find P --node {dead}",
        "dicom worklist P --node {dead}",
        "dicom move P -k StudyInstanceUID=1.2 --node {dead}",
        "dicom get P -k StudyInstanceUID=1.2 --node {dead}",
        "dicom store P --study 1.2 --node {dead}",
        "dicom commit P --study 1.2 --node {dead}",
        "dicom web query {dead}",
        "dicom web retrieve {dead} --study 1.2 --to {none}",
        "dicom web store {dead} {none}",
        "dicom web store {dead} {text}",
        "dicom test-rules {none} --rules {none}",
        "emr ls --node {dead}",
        "emr deadletters --node {dead}",
        "emr replay 1 --by me --reason r --node {dead}",
        "emr search --patient p --node {dead}",
        "emr preview {none} --node {dead}",
        "emr preview {text} --node {dead}",
        "secrets keygen --out {text}",
        "secrets encrypt {none} --recipient age1x",
        "secrets encrypt {text} --recipient age1x",
        "secrets decrypt {none}",
        "secrets decrypt {text}",
        "secrets set {none} a.b",
        "secrets edit {none}",
        "secrets rotate {none}",
        "secrets check {none}",
        "secrets render {none}",
        "open --node {dead}",
        "login --node {dead}",
        "user add wang --roles admin@* --node {dead}",
        "user list --node {dead}",
        "user disable wang --node {dead}",
        "user roles wang --roles admin@* --node {dead}",
    ];

    /// <summary>What works without a node.</summary>
    private static readonly string[] Done =
    [
        "sim --seeds 1", "database sql", "drill list", "site new lakeside", "site schema", "licence fingerprint", "licence keygen {new}", "wireguard keys --out {new}",
        "config keygen wang --out {folder}", "secrets keygen --out {new}",
    ];

    /// <summary>What starts nodes of its own when it is called rightly; the demo, the drills and the first hour have tests that do.</summary>
    private static readonly string[] Elsewhere = ["up", "demo config", "demo ai", "drill run"];

    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-verbs-").FullName;

    public static TheoryData<string> AllNotDone() => [.. NotDone];

    public static TheoryData<string> AllDone() => [.. Done];

    public static TheoryData<string> Verbs() => [.. CommandLine.Leaves(CommandLine.Root()).Select(NameOf)];

    public static TheoryData<string> Groups() => [.. GroupsOf(CommandLine.Root()).Select(NameOf)];

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Every_verb_has_a_line_in_these_tables()
    {
        var verbs = CommandLine.Leaves(CommandLine.Root()).Select(NameOf).ToArray();
        Assert.Equal(verbs.Order(StringComparer.Ordinal), [.. NotDone.Concat(Done).Concat(Elsewhere)
            .Select(line => verbs.Where(v => line == v || line.StartsWith(v + " ", StringComparison.Ordinal)).MaxBy(v => v.Length) ?? line).Distinct().Order(StringComparer.Ordinal)]);
    }

    [Theory]
    [MemberData(nameof(Verbs))]
    public async Task Help_describes_it_with_an_example_of_its_own(string verb)
    {
        var (code, output, _) = await RunAsync($"{verb} --help");
        Assert.Equal(0, code);
        Assert.Contains("--json", output, StringComparison.Ordinal);
        Assert.Contains($"yizhan {verb}", output[output.IndexOf("Examples:", StringComparison.Ordinal)..output.IndexOf("Usage:", StringComparison.Ordinal)], StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Verbs))]
    public async Task An_option_that_there_is_not_is_wrong_use_and_is_named(string verb)
    {
        var (code, output, error) = await RunAsync($"{verb} --no-such-option --json");
        Assert.Equal(2, code);
        Assert.Contains("--no-such-option", error, StringComparison.Ordinal);
        Assert.Contains($"yizhan {verb} --help", error, StringComparison.Ordinal);
        Assert.Contains("--no-such-option", LastOf(output).GetProperty("error").GetString(), StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Groups))]
    public async Task A_group_alone_or_with_a_command_that_there_is_not_says_which_there_are(string group)
    {
        var (code, _, error) = await RunAsync(group);
        Assert.Equal(2, code);
        Assert.Contains("needs a command: ", error, StringComparison.Ordinal);
        var (other, output, said) = await RunAsync($"{group} nonsense --json");
        Assert.Equal(2, other);
        Assert.Contains("'nonsense' is no command", said, StringComparison.Ordinal);
        Assert.Equal(2, LastOf(output).GetProperty("exitCode").GetInt32());
    }

    [Theory]
    [MemberData(nameof(AllNotDone))]
    public async Task What_cannot_be_done_is_said_with_its_value_and_fails(string line)
    {
        var (none, text) = (Path.Combine(_folder, "none"), Path.Combine(_folder, "line.txt"));
        await File.WriteAllTextAsync(text, "not what anybody expects\n", TestContext.Current.CancellationToken);
        var dead = $"http://127.0.0.1:{FreePorts.Next()}/";
        var (code, output, error) = await RunAsync(line.Replace("{none}", none, StringComparison.Ordinal).Replace("{text}", text, StringComparison.Ordinal).Replace("{dead}", dead, StringComparison.Ordinal) + " --json");

        // PostgreSQL's own contract is the one exception (docs/operations/production.md).
        Assert.Equal(line.StartsWith("database fetch", StringComparison.Ordinal) ? 150 : line.StartsWith("site new", StringComparison.Ordinal) ? 2 : 1, code);
        Assert.Equal(JsonValueKind.Object, LastOf(output).ValueKind);
        Assert.True(new[] { none, text, dead, dead.TrimEnd('/'), "NOT_A_SITE", "age1x" }.Any(value => error.Contains(value, StringComparison.Ordinal)), $"The error names no value: {error}");
        Assert.DoesNotContain("   at ", error, StringComparison.Ordinal);
        Assert.DoesNotContain("YIZHAN_TRACE", error, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(AllDone))]
    public async Task What_is_done_ends_with_one_json_object(string line)
    {
        Assert.SkipWhen(line == "licence fingerprint" && !File.Exists("/etc/machine-id"), "This machine has no /etc/machine-id to make a fingerprint of.");
        var (code, output, error) = await RunAsync(line.Replace("{new}", Path.Combine(_folder, "new"), StringComparison.Ordinal).Replace("{folder}", _folder, StringComparison.Ordinal) + " --json");
        Assert.True(code == 0, error);
        Assert.Equal(JsonValueKind.Object, LastOf(output).ValueKind);
        Assert.False(LastOf(output).TryGetProperty("error", out _));
    }

    private static JsonElement LastOf(string output) => JsonDocument.Parse(output.TrimEnd().Split('\n')[^1]).RootElement;

    private static string NameOf(Command command) => string.Join(' ', CommandLine.PathOf(command));

    private static IEnumerable<Command> GroupsOf(Command command) =>
        (command.Action is null ? [command] : Array.Empty<Command>()).Concat(command.Subcommands.SelectMany(GroupsOf));

    private static async Task<(int Code, string Output, string Error)> RunAsync(string line)
    {
        var (output, error) = (Console.Out, Console.Error);
        using var printed = new StringWriter();
        using var said = new StringWriter();
        Console.SetOut(printed);
        Console.SetError(said);
        try
        {
            var code = await CommandLine.RunAsync(line.Split(' ', StringSplitOptions.RemoveEmptyEntries));
            return (code, printed.ToString(), said.ToString());
        }
        finally
        {
            Console.SetOut(output);
            Console.SetError(error);
        }
    }
}
