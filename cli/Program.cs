return await Yizhan.Cli.CommandLine.RunAsync(args);
