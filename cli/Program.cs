using System.CommandLine;
using Yizhan.Cli;

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

// Ctrl+C stops the nodes in order before this process ends; the library's own patience of two seconds would orphan them.
var parsed = root.Parse(args);
Tokens.Read(parsed);
return await parsed.InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = TimeSpan.FromSeconds(40) });
