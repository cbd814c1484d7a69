using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace Yizhan.Platform.Tests;

/// <summary>Tests that set variables of the process and its standard error, or hear all of it: nobody else builds a node meanwhile.</summary>
[CollectionDefinition("process", DisableParallelization = true)]
public sealed class WholeProcess;

/// <summary>What a node does with right and wrong settings, from file, environment and arguments.</summary>
[Collection("process")]
public sealed class SettingsTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-platform-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("--node:siteI=x", "There is no setting 'node:siteI'. Did you mean 'node:siteId'?")]
    [InlineData("--nod:siteId=x", "There is no setting 'nod'. Did you mean 'node'?")]
    [InlineData("--web:port=1", "There is no setting 'web:port'. Known here: drainSeconds, url.")]
    [InlineData("--sample:peers:0:titel=x", "There is no setting 'sample:peers:0:titel'. Did you mean 'sample:peers:0:title'?")]
    [InlineData("--sample:limits:bulk:byte=1", "There is no setting 'sample:limits:bulk:byte'. Did you mean 'sample:limits:bulk:bytes'?")]
    [InlineData("--sample:retries:often=1", "There is no setting 'sample:retries:often'. The setting above it is a single value.")]
    public void An_unknown_key_stops_the_start_and_is_named(string argument, string expected) =>
        Assert.Equal(expected, Refused([argument]));

    [Fact]
    public void An_unknown_key_of_the_file_and_of_the_environment_is_named_too()
    {
        Assert.Equal("There is no setting 'web:ulr'. Did you mean 'web:url'?", Refused(["--config", Yaml("web:\n  ulr: x\n")]));
        using (new Variable("YIZHAN_web__ulr", "x"))
        {
            Assert.Equal("There is no setting 'web:ulr'. Did you mean 'web:url'?", Refused([]));
        }
    }

    [Fact]
    public void Keys_are_known_in_any_case_and_at_any_depth()
    {
        var app = Host(["--NODE:SITEID=east", "--sample:peers:0:title=CT1", "--sample:limits:bulk:bytes=7", "--sample:tags:0=a"]).Build();
        var sample = Options<SampleOptions>(app);
        Assert.Equal("east", Options<NodeOptions>(app).SiteId);
        Assert.Equal("CT1", Assert.Single(sample.Peers).Title);
        Assert.Equal(7, sample.Limits["bulk"].Bytes);
        Assert.Equal("a", Assert.Single(sample.Tags));
    }

    [Theory]
    [InlineData("--node:siteId=-east", "node:siteId must be 1 to 63 characters of a-z, 0-9 and '-'")]
    [InlineData("--node:siteId=East", "node:siteId must be 1 to 63 characters of a-z, 0-9 and '-'")]
    [InlineData("--log:level=loud", "log:level is 'loud'; accepted: Trace, Debug, Information")]
    [InlineData("--log:level=17", "log:level is '17'; accepted: Trace")]
    [InlineData("--log:format=xml", "log:format is 'xml'; accepted: text, json.")]
    [InlineData("--sample:retries=9", "sample:retries is 9; accepted: 0 to 5.")]
    public void A_value_out_of_range_is_refused_with_what_would_be_accepted(string argument, string expected) =>
        Assert.Contains(expected, Refused([argument]), StringComparison.Ordinal);

    [Theory]
    [InlineData("--sample:retries=many", "sample:retries")]
    [InlineData("--sample:pause=soon", "sample:pause")]
    public void A_value_of_the_wrong_type_is_refused_with_its_key(string argument, string key)
    {
        var message = Refused([argument]);
        Assert.Contains(key, message, StringComparison.OrdinalIgnoreCase);
        Assert.Contains(argument.Split('=')[1], message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("http://0.0.0.0:8080")]
    [InlineData("http://192.0.2.7:8080")]
    [InlineData("http://*:8080")]
    [InlineData("http://example.test:8080")]
    [InlineData("http://127.0.0.1:8080;http://0.0.0.0:8081")]
    [InlineData("https://127.0.0.1:8443")]
    [InlineData("8080")]
    [InlineData("")]
    public void The_web_listener_accepts_loopback_only(string url) =>
        Assert.StartsWith($"web:url is '{url}'; accepted is http:// on 127.0.0.1, [::1] or localhost", Refused(["--web:url=" + url]), StringComparison.Ordinal);

    [Theory]
    [InlineData("http://127.0.0.1:0")]
    [InlineData("http://localhost:8080")]
    [InlineData("http://[::1]:8080")]
    public void A_loopback_address_is_accepted(string url)
    {
        var app = Host(["--web:url=" + url]).Build();
        Assert.Equal(url, Options<WebOptions>(app).Url);
    }

    [Fact]
    public void Arguments_win_over_the_environment_and_that_over_the_file()
    {
        var file = Yaml("node:\n  siteId: file\n  dataFolder: file\nlog:\n  level: debug\n");
        using var variable = new Variable("YIZHAN_node__siteId", "environment");
        using var another = new Variable("YIZHAN_node__dataFolder", "environment");
        var app = Host(["--node:siteId=argument", "--config", file]).Build();
        Assert.Equal("argument", Options<NodeOptions>(app).SiteId);
        Assert.Equal("environment", Options<NodeOptions>(app).DataFolder);
        Assert.Equal("debug", Options<LogOptions>(app).Level);
    }

    [Fact]
    public void Of_two_files_the_later_wins()
    {
        var (first, second) = (Yaml("node: { siteId: a, dataFolder: first }"), Yaml("node: { siteId: b }"));
        var app = Host(["--config", first, "--config", second]).Build();
        Assert.Equal("b", Options<NodeOptions>(app).SiteId);
        Assert.Equal("first", Options<NodeOptions>(app).DataFolder);
    }

    [Theory]
    [InlineData("node:\n  siteId: [\n", ":3:1: ")]
    [InlineData("node:\n siteId: a\n  dataFolder: b\n", ":3:")]
    [InlineData("- a\n- b\n", ":1:1: Expected 'key: value' lines.")]
    [InlineData("just text\n", ":1:1: Expected 'key: value' lines.")]
    [InlineData("node:\n  siteId: a\n  siteId: b\n", ":3:3: ")]
    [InlineData("node:\n  siteId: a\nNode:\n  SITEID: b\n", ":3:1: The key 'Node' is there twice.")]
    [InlineData("node:\n  [a, b]: c\n", ":2:3: A key must be one word.")]
    [InlineData("node: { siteId: a }\n---\nweb: { url: b }\n", ":3:1: Only one document is accepted.")]
    public void A_wrong_file_is_refused_with_file_and_line(string yaml, string expected)
    {
        var file = Yaml(yaml);
        Assert.StartsWith(file + expected, Refused(["--config", file]), StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_multiplies_itself_is_refused()
    {
        var lines = Enumerable.Range(1, 12).Select(i => $"a{i}: &a{i} [{string.Join(",", Enumerable.Repeat($"*a{i - 1}", 10))}]");
        Assert.Contains("nested too deeply or has too many values", Refused(["--config", Yaml("a0: &a0 x\n" + string.Join('\n', lines))]), StringComparison.Ordinal);
    }

    [Fact]
    public void An_empty_file_and_an_empty_section_are_no_settings()
    {
        Assert.Equal("centre", Options<NodeOptions>(Host(["--config", Yaml("# nothing yet\n")]).Build()).SiteId);
        var section = Host(["--config", Yaml("sample:\n")]).Build();
        Assert.Equal(3, Options<SampleOptions>(section).Retries);
    }

    [Fact]
    public void A_missing_file_and_a_strange_argument_are_named()
    {
        Assert.Equal("The configuration file 'nowhere.yaml' does not exist.", Refused(["--config", "nowhere.yaml"]));
        Assert.Equal("--config needs a file.", Refused(["--config"]));
        Assert.StartsWith("'siteId=x' is not understood.", Refused(["siteId=x"]), StringComparison.Ordinal);
        Assert.StartsWith("'--verbose' is not understood.", Refused(["--verbose"]), StringComparison.Ordinal);
    }

    [Fact]
    public void The_environment_of_other_programs_is_not_read()
    {
        using var foreign = new Variable("ASPNETCORE_URLS", "http://0.0.0.0:5000");
        using var section = new Variable("node__siteId", "foreign");
        var app = Host([]).Build();
        Assert.Equal("centre", Options<NodeOptions>(app).SiteId);
        Assert.Equal("http://127.0.0.1:8080", app.Configuration["urls"]);
    }

    private string Yaml(string text)
    {
        var path = Path.Combine(_folder, Path.GetRandomFileName() + ".yaml");
        File.WriteAllText(path, text);
        return path;
    }

    private static ServiceHost Host(string[] args) => new ServiceHost(args).Add<SampleModule>();

    private static string Refused(string[] args) => Assert.Throws<SettingException>(() => { Host(args).Build(); }).Message;

    private static T Options<T>(WebApplication app) where T : class => app.Services.GetRequiredService<IOptions<T>>().Value;

    private sealed class Variable : IDisposable
    {
        private readonly string _name;

        public Variable(string name, string value) => Environment.SetEnvironmentVariable(_name = name, value);

        public void Dispose() => Environment.SetEnvironmentVariable(_name, null);
    }
}
