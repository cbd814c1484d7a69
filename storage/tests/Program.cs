using Xunit.MicrosoftTestingPlatform;
using Yizhan.Storage.Tests;
using Yizhan.Storage.Tests.Crash;

if (args is [CrashChild.Argument, .. var child])
{
    return await CrashChild.RunAsync(child);
}

return args.Any(arg => arg is "--server" or "--internal-msbuild-node")
    ? await TestPlatformTestFramework.RunAsync(args, SelfRegisteredExtensions.AddSelfRegisteredExtensions)
    : await Xunit.Runner.InProc.SystemConsole.ConsoleRunner.Run(args);
