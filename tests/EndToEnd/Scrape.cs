using Yizhan.Platform.Identity;

namespace Yizhan.EndToEnd.Tests;

/// <summary>Entries of <c>scrape_configs</c> for a node, with the token of its folder.</summary>
internal static class Scrape
{
    public static string Job(string name, Uri web, string folder, string path = "/metrics") =>
        $$"""{job_name: {{name}}, metrics_path: {{path}}, authorization: {credentials_file: "{{LocalOperator.PathIn(folder)}}"}, static_configs: [{targets: ["{{web.Authority}}"]}]}""";
}
