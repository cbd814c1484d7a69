using Yizhan.Dicom;
using Yizhan.PacsGw.Rules;
using Yizhan.Platform;

namespace Yizhan.PacsGw.Tests;

/// <summary>Rules files: what they say, and what is refused in them.</summary>
public sealed class RuleTests
{
    private const string Destinations = """
        destinations:
          research: { aeTitle: RESEARCH, host: 127.0.0.1, port: 11113 }
        deidentify:
          lung: { project: lung-2026, retain: [modifiedDates] }
        rules:
        """;

    [Theory]
    [InlineData("rulez: []", "1: there is no setting 'rulez'. Did you mean 'rules'?")]
    [InlineData("rules:\n  - name: a\n    wen: { Modality: CT }\n    pin: true", "3: there is no setting 'wen'. Did you mean 'when'?")]
    [InlineData("rules:\n  - name: a\n    when: { Modalty: CT }\n    pin: true", "3: there is no attribute 'Modalty'. Did you mean 'Modality'?")]
    [InlineData("rules:\n  - name: a\n    when: { Modality: CT }\n    route: reserch", "4: there is no destination 'reserch'. None is defined.")]
    [InlineData("rules:\n  - name: a\n    when: { Modality: CT }", "2: rule 'a' does nothing; it needs reject, pin, coerce, route or stop")]
    [InlineData("rules:\n  - name: a\n    reject: no\n    pin: true", "3: an instance that is rejected is not stored, so nothing else can be done with it")]
    [InlineData("rules:\n  - name: a\n    pin: true\n  - name: a\n    pin: true", "4: there is another rule 'a'")]
    [InlineData("rules:\n  - name: a\n    coerce: { PatientName: '{Modalty}' }", "3: there is no attribute 'Modalty'. Did you mean 'Modality'?")]
    [InlineData("rules:\n  - name: a\n    coerce: { SOPInstanceUID: '1.2' }", "3: SOPInstanceUID says which instance this is or how it is read, and is not coerced")]
    [InlineData("deidentify:\n  x: { project: p, retain: [uid] }", "2: there is no option 'uid'. Did you mean 'uids'?")]
    [InlineData("deidentify:\n  x: { project: p, retain: [fullDates, modifiedDates] }", "2: fullDates and modifiedDates exclude each other")]
    [InlineData("deidentify:\n  x: { project: p, blank: ['0 0 10'] }", "2: a region is '0 0 10'; accepted is 'X Y WIDTH HEIGHT' in pixels, such as '0 0 512 40'")]
    [InlineData("destinations:\n  x: { aeTitle: X, host: 127.0.0.1, port: 0 }", "2: port is '0'; accepted is 1 to 65535")]
    [InlineData("destinations:\n  x: { orthanc: 'ftp://a' }", "2: orthanc is 'ftp://a'; accepted is an address such as http://127.0.0.1:8042/")]
    [InlineData("rules: 5", "1: rules is a list: lines that begin with '-'")]
    [InlineData("rules:\n  - name: [", "3: ")]
    public void What_is_wrong_is_named_with_its_line(string yaml, string expected)
    {
        var e = Assert.Throws<SettingException>(() => Read(yaml));
        Assert.StartsWith("RULES:" + expected, e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Rules_apply_in_order_until_one_rejects_or_stops()
    {
        var rules = Read(Destinations + """

              - name: no secondary capture
                when: { Modality: [SC, OT], peer: CT-* }
                reject: Screenshots are not stored here.
              - name: institution
                coerce: { InstitutionName: "Site {StationName}" }
              - name: research
                when: { Modality: "!MR", BodyPartExamined: ["CHEST", ""] }
                deidentify: lung
                route: research
                stop: true
              - name: never
                pin: true
            """);
        Assert.Equal("no secondary capture", Decide(rules, "CT-1", new DicomDataset().Set(DicomTags.Modality, "sc")).Rejection?.Name);
        Assert.Null(Decide(rules, "MR-1", new DicomDataset().Set(DicomTags.Modality, "SC")).Rejection);

        var decision = Decide(rules, "CT-1", new DicomDataset().Set(DicomTags.Modality, "CT"));
        Assert.Equal("research", Assert.Single(decision.Routes).Destination);
        Assert.Null(decision.Pinned);
        Assert.Equal(["Modality is not 'SC' or 'OT'", null, null], decision.Steps.Select(s => s.Mismatch));
        Assert.Equal(DicomTags.InstitutionName, Assert.Single(RuleEngine.CoercionsFor(decision, decision.Routes[0].Rule)).Tag);

        var other = Decide(rules, "MR-1", new DicomDataset().Set(DicomTags.Modality, "MR"));
        Assert.Empty(other.Routes);
        Assert.Equal("never", other.Pinned?.Name);
    }

    [Fact]
    public void What_is_coerced_is_kept_in_the_original_attributes_sequence()
    {
        var dataset = new DicomDataset()
            .Set(DicomTags.SpecificCharacterSet, "ISO_IR 100").Set(DicomTags.PatientName, "Müller^Hans").Set(DicomTags.PatientID, "7").Set(DicomTags.StationName, "CT1");
        var changed = Coercion.Apply(
            dataset,
            [
                new CoercedAttribute(DicomTags.PatientName, "王^小东"), new CoercedAttribute(DicomTags.PatientID, "A-{StationName}-{PatientID}"),
                new CoercedAttribute(DicomTags.StationName, "CT1"), new CoercedAttribute(DicomTags.InstitutionName, "Site"), new CoercedAttribute(DicomTags.AccessionNumber, null),
            ],
            "YIZHAN site-a", "CT-1", new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero));
        Assert.Equal([DicomTags.PatientName, DicomTags.PatientID, DicomTags.InstitutionName], changed);

        var again = DicomDataset.Parse(DicomWriter.ToArray(dataset, DicomTransferSyntax.ExplicitVrLittleEndian), DicomTransferSyntax.ExplicitVrLittleEndian);
        Assert.Equal("王^小东", again.GetString(DicomTags.PatientName));
        Assert.Equal("A-CT1-7", again.GetString(DicomTags.PatientID));
        var item = Assert.Single(again.GetItems(new DicomTag(0x0400, 0x0561)));
        Assert.Equal("COERCE", item.GetString(new DicomTag(0x0400, 0x0565)));
        Assert.Equal("CT-1", item.GetString(new DicomTag(0x0400, 0x0564)));
        Assert.Equal("20260102030405.000000+0000", item.GetString(new DicomTag(0x0400, 0x0562)));
        var before = Assert.Single(item.GetItems(new DicomTag(0x0400, 0x0550)));
        Assert.Equal("Müller^Hans", before.GetString(DicomTags.PatientName));
        Assert.Equal("7", before.GetString(DicomTags.PatientID));
        Assert.True(before.TryGet(DicomTags.InstitutionName, out var absent) && absent.Value.Length == 0);
        Assert.False(before.Contains(DicomTags.StationName));
    }

    [Fact]
    public async Task A_rule_refuses_an_instance_with_its_reason_and_the_next_one_is_stored()
    {
        await using var rules = new RulesFile("rules: [{ name: no MR, when: { Modality: MR }, reject: MR goes elsewhere. }]");
        await using var gateway = await Gateway.StartAsync(rules.Setting);
        var statuses = await gateway.SendAsync([
            new TestInstance("2.25.1", "2.25.11", "2.25.111") { Modality = "MR" }.ToSend(), new TestInstance("2.25.1", "2.25.11", "2.25.112").ToSend()]);
        Assert.Equal([(ushort)0x0124, (ushort)0], statuses);
        await gateway.IndexedAsync();
        Assert.Single(await gateway.QueryAsync("studies/2.25.1/instances"));
    }

    [Fact]
    public void Rules_can_be_tried_on_a_file()
    {
        var folder = Directory.CreateTempSubdirectory("yizhan-rules-");
        try
        {
            var file = Path.Combine(folder.FullName, "a.dcm");
            File.WriteAllBytes(file, new TestInstance("2.25.1", "2.25.11", "2.25.111") { PatientName = "Secret^Name" }.ToFile());
            var rules = Path.Combine(folder.FullName, "rules.yaml");
            File.WriteAllText(rules, Destinations + "\n  - { name: mr, when: { Modality: MR }, reject: no }\n  - { name: lung, deidentify: lung, route: research }");
            var (code, output, json) = Try(file, "--rules", rules, "--peer", "CT-1", "--write", folder.FullName, "--json");
            Assert.Equal(0, code);
            Assert.Contains("line 6, mr: Modality is not 'MR'", output, StringComparison.Ordinal);
            Assert.Contains("line 7, lung: applies: de-identify with 'lung', route to research", output, StringComparison.Ordinal);
            Assert.Contains("(0010,0010) PatientName: 'Secret^Name' -> ", output, StringComparison.Ordinal);
            Assert.Contains("\"destination\":\"research\"", json.ToLowerInvariant(), StringComparison.Ordinal);
            Assert.NotEqual("Secret^Name", DicomFile.Parse(File.ReadAllBytes(Path.Combine(folder.FullName, "research.dcm"))).Dataset.GetString(DicomTags.PatientName));

            Assert.Equal(64, Try(file).Code);
            Assert.Equal(66, Try(file + "x", "--rules", rules).Code);
            Assert.Equal(65, Try(rules, "--rules", rules).Code);
        }
        finally
        {
            folder.Delete(recursive: true);
        }

        static (int Code, string Error, string Output) Try(params string[] arguments)
        {
            var (output, error) = (new StringWriter(), new StringWriter());
            var code = RuleTrial.Run(arguments, output, error);
            return (code, error.ToString(), output.ToString());
        }
    }

    private static RuleDecision Decide(RuleSet rules, string peer, DicomDataset dataset) => RuleEngine.Decide(rules, new RuleSubject(peer, "YIZHAN", dataset));

    private static RuleSet Read(string yaml)
    {
        var path = Path.GetTempFileName();
        try
        {
            File.WriteAllText(path, yaml);
            return RuleFile.Read(path);
        }
        catch (SettingException e)
        {
            throw new SettingException(e.Message.Replace(path, "RULES", StringComparison.Ordinal));
        }
        finally
        {
            File.Delete(path);
        }
    }
}

/// <summary>A rules file for a gateway.</summary>
internal sealed class RulesFile : IAsyncDisposable
{
    private readonly string _path = Path.GetTempFileName();

    public RulesFile(string yaml) => File.WriteAllText(_path, yaml);

    public string Setting => $"--pacs-gw:rulesFile={_path}";

    public ValueTask DisposeAsync()
    {
        File.Delete(_path);
        return ValueTask.CompletedTask;
    }
}
