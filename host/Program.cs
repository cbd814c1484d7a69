using System.ComponentModel.DataAnnotations;
using Yizhan.Host;
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
    [HealthCheck.Verb, .. var asked] => await HealthCheck.RunAsync(asked, Console.Error),
    [IdleCheck.Verb, .. var asked] => await IdleCheck.RunAsync(asked, Console.Out, Console.Error),
    ["issue", var site, "--ca", var folder, "--out", var target] => Issue(site, folder, target),
    _ => Usage(),
};

// What a stack of containers needs before its first start: the centre's authority and a certificate of it for one site.
static int Issue(string site, string folder, string target)
{
    var node = new NodeOptions { SiteId = site };
    if (!Validator.TryValidateObject(node, new ValidationContext(node), null, validateAllProperties: true))
    {
        Console.Error.WriteLine($"yizhan-host: '{site}' is not a site; accepted are 1 to 63 characters of a-z, 0-9 and '-', not starting or ending with '-'.");
        return 64;
    }

    using var ca = EmbeddedCa.Open(folder, TimeProvider.System);
    var certificate = Path.Combine(target, "certificate.pem");
    if (!File.Exists(certificate))
    {
        ca.IssueSite(site).WriteTo(certificate, Path.Combine(target, "key.pem"));
    }

    File.Copy(Path.Combine(folder, "root.crt"), Path.Combine(target, "root.crt"), overwrite: true);
    return 0;
}

static int Usage()
{
    Console.Error.WriteLine("""
        Usage: yizhan-host centre [--config FILE] [--section:key=value ...]
               yizhan-host edge   [--config FILE] [--section:key=value ...]
               yizhan-host all --centre FILE --edge FILE
               yizhan-host issue SITE --ca FOLDER --out FOLDER
               yizhan-host --healthcheck [URL]
               yizhan-host --idle [URL]          0: may be restarted now, 21: not now
               yizhan-host test-rules FILE --rules FILE [--peer AE] [--called AE] [--write FOLDER] [--json]
        """);
    return 64;
}
