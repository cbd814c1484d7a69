using System.Text;
using Yizhan.Platform.SiteFiles;

namespace Yizhan.Platform.Tests.SiteFiles;

public sealed class SiteFileTests
{
    private static readonly string Root = FindRoot();

    public static TheoryData<string> Valid() => Names(Path.Combine(Root, "sites"));

    public static TheoryData<string> Invalid() => Names(Path.Combine(Root, "platform", "tests", "SiteFiles", "invalid"));

    [Theory]
    [MemberData(nameof(Valid))]
    [Trait("Clause", "D7.2")]
    public void A_site_file_of_the_tree_is_accepted_and_names_its_schema(string name)
    {
        var path = Path.Combine(Root, "sites", name);
        var (sites, problems) = SiteFolder.Read([path]);
        Assert.Empty(problems);
        Assert.Equal(Path.GetFileNameWithoutExtension(name), Assert.Single(sites).Site.SiteId);
        Assert.Equal("# yaml-language-server: $schema=./site.schema.json", File.ReadLines(path).First());
    }

    /// <summary>The first line of each file says what is wrong with it: <c># expect LINE:COLUMN: MESSAGE</c>, one line for each problem.</summary>
    [Theory]
    [MemberData(nameof(Invalid))]
    [Trait("Clause", "D7.2")]
    public void A_site_file_with_one_fault_is_refused_with_its_place_value_and_what_would_be_accepted(string name)
    {
        var path = Path.Combine(Root, "platform", "tests", "SiteFiles", "invalid", name);
        var expected = Encoding.Latin1.GetString(File.ReadAllBytes(path)).Split('\n')[0];
        var (site, problems) = SiteFileReader.ReadFile(path);

        Assert.Null(site);
        Assert.Equal(
            Encoding.UTF8.GetString(Encoding.Latin1.GetBytes(expected)),
            "# expect " + string.Join(" | ", problems.Select(p => $"{p.Line}:{p.Column}: {p.Message}")));
    }

    [Fact]
    public void There_are_at_least_eight_valid_and_thirty_invalid_files()
    {
        Assert.True(Valid().Count >= 8, $"{Valid().Count} valid");
        Assert.True(Invalid().Count >= 30, $"{Invalid().Count} invalid");
    }

    [Fact]
    [Trait("Clause", "D7.2")]
    public void The_schema_in_the_tree_is_the_one_of_the_record() =>
        Assert.Equal(SiteSchema.Generate(), File.ReadAllText(Path.Combine(Root, "sites", "site.schema.json")));

    [Fact]
    public void A_file_of_100_MB_is_refused_by_its_length()
    {
        var path = Path.GetTempFileName();
        try
        {
            using (var file = File.OpenWrite(path))
            {
                file.SetLength(100_000_000);
            }

            var problem = Assert.Single(SiteFileReader.ReadFile(path).Problems);
            Assert.Equal("The file has 100000000 bytes; accepted: up to 262144.", problem.Message);
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void Every_fault_of_a_file_is_named_in_its_order()
    {
        var (_, problems) = SiteFileReader.Read("siteId: A\nname: x\nhardware: {profile: x64, memoryGiB: 1, storageGiB: 64}\nnetwork: []\n"u8, "f.yaml");
        List<(int, int)> places = [(1, 1), (1, 9), (3, 37), (4, 10)];
        Assert.Equal(places, problems.Select(p => (p.Line, p.Column)));
    }

    [Fact]
    public void A_site_must_have_the_name_of_its_file_and_a_tunnel_address_of_its_own()
    {
        var folder = Directory.CreateTempSubdirectory("yizhan-sites-");
        try
        {
            var text = File.ReadAllText(Path.Combine(Root, "sites", "sichuan-ganluo.yaml"));
            IEnumerable<string> names = ["sichuan-ganluo", "copy", "renamed"];
            var paths = names.Select(n => Path.Combine(folder.FullName, n + ".yaml")).ToArray();
            File.WriteAllText(paths[0], text);
            File.WriteAllText(paths[1], text);
            File.WriteAllText(paths[2], text.Replace("siteId: sichuan-ganluo", "siteId: renamed", StringComparison.Ordinal));
            var (sites, problems) = SiteFolder.Read(paths);
            Assert.Equal("sichuan-ganluo", Assert.Single(sites).Site.SiteId);
            Assert.Equal(
                ["siteId is 'sichuan-ganluo' and the file is 'copy.yaml'; accepted: 'sichuan-ganluo.yaml'.",
                 "network.tunnel.address is '10.66.0.12/32', which is that of sichuan-ganluo; accepted: each once."],
                problems.Select(p => p.Message));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public void A_diff_sees_meaning_and_not_form()
    {
        var before = Read("sichuan-ganluo");
        var text = File.ReadAllText(Path.Combine(Root, "sites", "sichuan-ganluo.yaml"))
            .Replace("uplinkKbps: 2000", "uplinkKbps: 4000", StringComparison.Ordinal)
            .Replace("  - name: DR\n    modality: DX\n    aeTitle: GL_DR1", "  - {name: US, modality: US, aeTitle: GL_US}\n  - {aeTitle: GL_DR1, modality: DX, name: DR}", StringComparison.Ordinal)
            .Replace("dialects: [ii, cmn-sichuan]", "dialects: [cmn-sichuan, ii]", StringComparison.Ordinal)
            .Replace("  npu: true\n", "", StringComparison.Ordinal) + "peers: []\n";
        var after = SiteFileReader.Read(Encoding.UTF8.GetBytes(text), "after.yaml").Site;

        Assert.Equal(
            ["~ hardware.npu: true → false", "~ network.uplinkKbps: 2000 → 4000", "+ modalities[US].name: US", "+ modalities[US].modality: US",
             "+ modalities[US].aeTitle: GL_US", "+ modalities[US].worklist: false", "~ dialects: ii, cmn-sichuan → cmn-sichuan, ii"],
            SiteDiff.Between(before, after).Select(c => c.ToString()));
        Assert.Empty(SiteDiff.Between(before, before));
        Assert.All(SiteDiff.Between(before, null), change => Assert.Null(change.After));
    }

    [Fact]
    [Trait("Clause", "S5")]
    public void The_site_file_chooses_the_driver_of_each_medical_record_system()
    {
        Assert.Equal(["cmn-sichuan", "cmn-Hans-CN"], SiteSettings.Of(Read("hubei-lichuan")).Where(s => s.Key.StartsWith("nmt-asr:dialects:", StringComparison.Ordinal)).OrderBy(s => s.Key, StringComparer.Ordinal).Select(s => s.Value));
        var settings = SiteSettings.Of(Read("hubei-lichuan")).Where(s => s.Key.StartsWith("emr-adapter:systems:", StringComparison.Ordinal))
            .GroupBy(s => s.Key.Split(':')[2]).Select(g => g.ToDictionary(s => string.Join(':', s.Key.Split(':').Skip(3)), s => s.Value)).ToList();
        Assert.Equal(["his hl7", "region fhir"], settings.Select(s => $"{s["name"]} {s["driver"]}"));
        Assert.Equal(("192.168.10.7", "2575", "GB 18030-2000", "study report finding note"), (settings[0]["host"], settings[0]["port"], settings[0]["characterSet"], settings[0]["sends"]));
        Assert.Equal(("https://fhir.lichuan.example/fhir", "yizhan", "region.password", "false"), (settings[1]["url"], settings[1]["user"], settings[1]["passwordFile"], settings[1]["orders"]));
        Assert.False(settings[0].ContainsKey("passwordFile"));
    }

    private static SiteFile Read(string site) => SiteFileReader.ReadFile(Path.Combine(Root, "sites", site + ".yaml")).Site!;

    private static TheoryData<string> Names(string folder) => new(SiteFolder.Files(folder).Select(path => Path.GetFileName(path)));

    private static string FindRoot()
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(directory.FullName, "global.json")))
        {
            directory = directory.Parent ?? throw new DirectoryNotFoundException("No global.json above the test.");
        }

        return directory.FullName;
    }
}
