using System.CommandLine;
using Yizhan.Cli;

var root = new RootCommand("Yizhan 驿站: a clinical platform for sites with an unreliable link.")
{
    UpCommand.Create(),
    DemoCommand.Create(),
};
return await root.Parse(args).InvokeAsync();
