using System.ComponentModel.DataAnnotations;
using Yizhan.AiInfer.Engine;
using Yizhan.Host;
using Yizhan.NmtAsr.Sherpa;
using Yizhan.PacsGw.Rules;
using Yizhan.Platform;
using Yizhan.Platform.Certificates;

// The shapes in which one binary runs; what differs between them is this list and the configuration, never the code.
return args switch
{
    ["centre", .. var settings] => await ServiceHost.RunAsync(() => Nodes.Centre(settings)),
    ["edge", .. var settings] => await ServiceHost.RunAsync(() => Nodes.Edge(settings)),
    ["all", "--centre", var centre, "--edge", var edge] => await ServiceHost.RunAsync(
        () => Nodes.Centre(["--config", centre]), () => Nodes.Edge(["--config", edge])),
    ["test-rules", .. var arguments] => RuleTrial.Run(arguments, Console.Out, Console.Error),
    // What may end its process is a child of this one: the program of an image is all the programs that there are.
    [ModelWorker.Verb, .. var worker] => await ModelWorker.RunAsync(worker),
    [SherpaWorker.Verb, .. var worker] => SherpaWorker.Run(worker),
    [HealthCheck.Verb, .. var asked] => await HealthCheck.RunAsync(asked, Console.Error),
    [IdleCheck.Verb, .. var asked] => await IdleCheck.RunAsync(asked, Console.Out, Console.Error),
    ["issue", var site, "--ca", var folder, "--out", var target] => Issue(site, folder, target, null, []),
    ["issue", var site, "--ca", var folder, "--out", var target, "--services", var services, .. var names] => Issue(site, folder, target, services, names),
    _ => Usage(),
};

// What a stack of containers needs before its first start: the centre's authority, a certificate of it for one site, and for each service that others
// call one with its name in the flow list and its host. A site whose certificate was brought keeps it, and gets no authority of its own.
static int Issue(string site, string folder, string target, string? services, string[] names)
{
    var node = new NodeOptions { SiteId = site };
    if (!Validator.TryValidateObject(node, new ValidationContext(node), null, validateAllProperties: true))
    {
        Console.Error.WriteLine($"yizhan-host: '{site}' is not a site; accepted are 1 to 63 characters of a-z, 0-9 and '-', not starting or ending with '-'.");
        return 64;
    }

    if (Array.Find(names, name => name.Split('=') is not [{ Length: > 0 }, { Length: > 0 }]) is { } wrong)
    {
        Console.Error.WriteLine($"yizhan-host: '{wrong}' is not a service; accepted is NAME=HOST, such as console=centre.");
        return 64;
    }

    var certificate = Path.Combine(target, "certificate.pem");
    if (File.Exists(certificate) && File.Exists(Path.Combine(target, "root.crt")) && !File.Exists(Path.Combine(folder, "root.crt")))
    {
        return 0;
    }

    using var ca = EmbeddedCa.Open(folder, TimeProvider.System);
    if (!File.Exists(certificate))
    {
        ca.IssueSite(site).WriteTo(certificate, Path.Combine(target, "key.pem"));
    }

    File.Copy(ca.RootFile, Path.Combine(target, "root.crt"), overwrite: true);
    foreach (var (name, host) in names.Select(name => name.Split('=')).Select(pair => (pair[0], pair[1])))
    {
        // Anew with each start of the stack: nobody renews them in between, and they last 90 days.
        var own = Directory.CreateDirectory(Path.Combine(services!, name)).FullName;
        ca.IssueService("compose", name, host, "localhost").WriteTo(Path.Combine(own, "tls.crt"), Path.Combine(own, "tls.key"));
        File.Copy(ca.RootFile, Path.Combine(services!, "root.crt"), overwrite: true);
    }

    return 0;
}

static int Usage()
{
    Console.Error.WriteLine("""
        Usage: yizhan-host centre [--config FILE] [--section:key=value ...]
               yizhan-host edge   [--config FILE] [--section:key=value ...]
               yizhan-host all --centre FILE --edge FILE
               yizhan-host issue SITE --ca FOLDER --out FOLDER [--services FOLDER NAME=HOST ...]
               yizhan-host --healthcheck [URL]
               yizhan-host --idle [URL]          0: may be restarted now, 21: not now
               yizhan-host test-rules FILE --rules FILE [--peer AE] [--called AE] [--write FOLDER] [--json]
        """);
    return 64;
}
