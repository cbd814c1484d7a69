using Yizhan.Host;
using Yizhan.PacsGw.Rules;
using Yizhan.Platform;

// The shapes in which one binary runs; what differs between them is this list and the configuration, never the code.
return args switch
{
    ["centre", .. var settings] => await ServiceHost.RunAsync(() => Nodes.Centre(settings)),
    ["edge", .. var settings] => await ServiceHost.RunAsync(() => Nodes.Edge(settings)),
    ["all", "--centre", var centre, "--edge", var edge] => await ServiceHost.RunAsync(
        () => Nodes.Centre(["--config", centre]), () => Nodes.Edge(["--config", edge])),
    ["test-rules", .. var arguments] => RuleTrial.Run(arguments, Console.Out, Console.Error),
    _ => Usage(),
};

static int Usage()
{
    Console.Error.WriteLine("""
        Usage: yizhan-host centre [--config FILE] [--section:key=value ...]
               yizhan-host edge   [--config FILE] [--section:key=value ...]
               yizhan-host all --centre FILE --edge FILE
               yizhan-host test-rules FILE --rules FILE [--peer AE] [--called AE] [--write FOLDER] [--json]
        """);
    return 64;
}
