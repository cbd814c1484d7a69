using System.Globalization;
using System.Net;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;
using Yizhan.Dicom;
using Yizhan.PacsGw.Deidentify;
using Yizhan.Platform;

namespace Yizhan.PacsGw.Rules;

/// <summary>Reads a rules file. What is unknown or does not fit is refused with its line and what would be accepted.</summary>
internal sealed class RuleFile
{
    private const int MaxRules = 1000;

    private static readonly Dictionary<string, RetainOptions> RetainNames = new(StringComparer.Ordinal)
    {
        ["uids"] = RetainOptions.Uids,
        ["fullDates"] = RetainOptions.FullDates,
        ["modifiedDates"] = RetainOptions.ModifiedDates,
        ["device"] = RetainOptions.Device,
        ["institution"] = RetainOptions.Institution,
        ["patientCharacteristics"] = RetainOptions.PatientCharacteristics,
        ["descriptors"] = RetainOptions.Descriptors,
    };

    private readonly string _path;

    private RuleFile(string path) => _path = path;

    /// <summary>Reads the file.</summary>
    /// <exception cref="SettingException">It is not there or something in it is wrong; the message has file and line.</exception>
    public static RuleSet Read(string path)
    {
        if (!File.Exists(path))
        {
            throw new SettingException($"The rules file '{path}' does not exist.");
        }

        var yaml = new YamlStream();
        try
        {
            using var reader = File.OpenText(path);
            yaml.Load(reader);
        }
        catch (YamlException e)
        {
            throw new SettingException($"{path}:{e.Start.Line}: {e.InnerException?.Message ?? e.Message}");
        }

        return yaml.Documents.Count == 0 ? RuleSet.Empty : new RuleFile(path).Set(yaml.Documents[0].RootNode);
    }

    private RuleSet Set(YamlNode root)
    {
        var keys = Map(root, "destinations", "deidentify", "rules");
        var destinations = Named(keys, "destinations", Destination);
        var profiles = Named(keys, "deidentify", Profile);
        var rules = new List<Rule>();
        foreach (var node in List(keys, "rules", MaxRules))
        {
            rules.Add(Rule(node, destinations, profiles, rules));
        }

        return new RuleSet(destinations, profiles, rules);
    }

    private Dictionary<string, T> Named<T>(Dictionary<string, YamlNode> keys, string key, Func<string, YamlNode, T> read)
    {
        var found = new Dictionary<string, T>(StringComparer.Ordinal);
        if (keys.TryGetValue(key, out var node))
        {
            foreach (var (name, value) in Map(node))
            {
                found.Add(name, read(name, value));
            }
        }

        return found;
    }

    private Destination Destination(string name, YamlNode node)
    {
        var keys = Map(node, "peer", "aeTitle", "host", "port", "orthanc", "dicomweb", "user", "passwordFile", "tokenFile");
        if (keys.TryGetValue("peer", out var peer))
        {
            return keys.Count == 1
                ? new Destination(name, Text(peer), null, 0)
                : throw Wrong(node, "a destination that is a peer has no other key: the settings (pacs-gw:peers) say its address");
        }

        if (keys.ContainsKey("orthanc") || keys.ContainsKey("dicomweb"))
        {
            return HttpDestination(name, node, keys);
        }

        var aeTitle = RequiredText(node, keys, "aeTitle");
        if (aeTitle.Length is 0 or > 16 || aeTitle.Any(c => c is < ' ' or > '~' or '\\'))
        {
            throw Wrong(keys["aeTitle"], $"aeTitle is '{aeTitle}'; accepted are 1 to 16 printable ASCII characters without backslash");
        }

        var host = RequiredText(node, keys, "host");
        if (!IPAddress.TryParse(host, out _) && Uri.CheckHostName(host) != UriHostNameType.Dns)
        {
            throw Wrong(keys["host"], $"host is '{host}'; accepted is an IP address or a name");
        }

        var port = RequiredText(node, keys, "port");
        return int.TryParse(port, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number is >= 1 and <= 65535
            ? new Destination(name, aeTitle, host, number)
            : throw Wrong(keys["port"], $"port is '{port}'; accepted is 1 to 65535");
    }

    private Destination HttpDestination(string name, YamlNode node, Dictionary<string, YamlNode> keys)
    {
        var (key, kind, example) = keys.ContainsKey("orthanc")
            ? ("orthanc", DestinationKind.Orthanc, "http://127.0.0.1:8042/")
            : ("dicomweb", DestinationKind.DicomWeb, "https://pacs.example.org/dicom-web/");
        string[] others = kind == DestinationKind.Orthanc ? ["user", "passwordFile"] : ["user", "passwordFile", "tokenFile"];
        if (keys.Keys.FirstOrDefault(k => k != key && !others.Contains(k)) is { } other)
        {
            throw Wrong(keys[other], $"'{other}' does not go with '{key}'; accepted beside it: {string.Join(", ", others)}");
        }

        // What is in an address ends in logs: no password there, and the message does not repeat it.
        var url = Text(keys[key]);
        if (!Uri.TryCreate(url, UriKind.Absolute, out var parsed) || parsed.Scheme is not ("http" or "https") || parsed.UserInfo.Length > 0)
        {
            throw Wrong(keys[key], parsed is { UserInfo.Length: > 0 }
                ? $"{key} has a user in its address; accepted is one without, such as {example}, with 'user' and 'passwordFile' beside it"
                : $"{key} is '{url}'; accepted is an address such as {example}");
        }

        return keys.ContainsKey("user") && keys.ContainsKey("tokenFile")
            ? throw Wrong(node, "a destination signs in with 'user' and 'passwordFile' or with 'tokenFile', not with both")
            : new Destination(
                name, null, parsed.Host, parsed.Port, kind, url.EndsWith('/') ? url : url + "/",
                OptionalText(keys, "user"), OptionalText(keys, "passwordFile"), OptionalText(keys, "tokenFile"));
    }

    private DeidentifyProfile Profile(string name, YamlNode node)
    {
        var keys = Map(node, "project", "retain", "blank", "burnedIn");
        var project = RequiredText(node, keys, "project");
        if (project.Length is 0 or > 40 || project.Any(c => !char.IsAsciiLetterOrDigit(c) && c is not '-'))
        {
            throw Wrong(keys["project"], $"project is '{project}'; accepted are 1 to 40 of a-z, 0-9 and '-'");
        }

        var retain = RetainOptions.None;
        foreach (var option in List(keys, "retain", 16))
        {
            retain |= RetainNames.TryGetValue(Text(option), out var known) ? known : throw Unknown(option, "option", Text(option), RetainNames.Keys);
        }

        if (retain.HasFlag(RetainOptions.FullDates) && retain.HasFlag(RetainOptions.ModifiedDates))
        {
            throw Wrong(keys["retain"], "fullDates and modifiedDates exclude each other");
        }

        var regions = new List<BlankedRegion>();
        foreach (var region in List(keys, "blank", 100))
        {
            var numbers = Text(region).Split(' ', StringSplitOptions.RemoveEmptyEntries);
            var values = numbers.Select(n => int.TryParse(n, NumberStyles.None, CultureInfo.InvariantCulture, out var v) ? v : -1).ToArray();
            regions.Add(values is [var x, var y, var width and > 0, var height and > 0] && values.All(v => v >= 0)
                ? new BlankedRegion(x, y, width, height)
                : throw Wrong(region, $"a region is '{Text(region)}'; accepted is 'X Y WIDTH HEIGHT' in pixels, such as '0 0 512 40'"));
        }

        var burnedIn = OptionalText(keys, "burnedIn");
        return burnedIn is null or "refuse" or "accept"
            ? new DeidentifyProfile(name, project, retain, regions, burnedIn == "accept")
            : throw Wrong(keys["burnedIn"], $"burnedIn is '{burnedIn}'; accepted are refuse and accept");
    }

    private Rule Rule(YamlNode node, Dictionary<string, Destination> destinations, Dictionary<string, DeidentifyProfile> profiles, List<Rule> before)
    {
        var keys = Map(node, "name", "when", "reject", "pin", "coerce", "deidentify", "route", "stop");
        var name = RequiredText(node, keys, "name");
        if (before.Exists(r => r.Name == name))
        {
            throw Wrong(keys["name"], $"there is another rule '{name}'");
        }

        var conditions = keys.TryGetValue("when", out var when) ? Map(when).Select(c => Condition(when, c.Key, c.Value)).ToList() : [];
        var coerce = keys.TryGetValue("coerce", out var change) ? Map(change).Select(c => Coerced(change, c.Key, c.Value)).ToList() : [];
        var routes = new List<string>();
        foreach (var route in ListOrOne(keys, "route"))
        {
            routes.Add(destinations.ContainsKey(Text(route)) ? Text(route) : throw Unknown(route, "destination", Text(route), destinations.Keys));
        }

        var profile = OptionalText(keys, "deidentify");
        if (profile is not null && !profiles.ContainsKey(profile))
        {
            throw Unknown(keys["deidentify"], "profile", profile, profiles.Keys);
        }

        if (profile is not null && routes.Count == 0)
        {
            throw Wrong(keys["deidentify"], "only copies are de-identified, and this rule has no 'route'");
        }

        var reject = OptionalText(keys, "reject");
        if (reject is not null && (routes.Count > 0 || coerce.Count > 0 || Flag(keys, "pin")))
        {
            throw Wrong(keys["reject"], "an instance that is rejected is not stored, so nothing else can be done with it");
        }

        if (reject is null && routes.Count == 0 && coerce.Count == 0 && !Flag(keys, "pin") && !Flag(keys, "stop"))
        {
            throw Wrong(node, $"rule '{name}' does nothing; it needs reject, pin, coerce, route or stop");
        }

        return new Rule(name, Line(node), conditions, reject, Flag(keys, "pin"), coerce, profile, routes, Flag(keys, "stop"));
    }

    private Condition Condition(YamlNode parent, string what, YamlNode value)
    {
        var patterns = value is YamlSequenceNode list ? list.Select(Text).ToList() : [Text(value)];
        return what is "peer" or "called" ? new Condition(what, null, patterns) : new Condition(what, Tag(parent, what, value), patterns);
    }

    private CoercedAttribute Coerced(YamlNode parent, string what, YamlNode value)
    {
        var tag = Tag(parent, what, value);
        var vr = DicomDictionary.GetVr(tag);
        if (!vr.IsText() || tag.IsPrivate || tag.IsGroupLength || tag.Group <= 2)
        {
            throw Wrong(value, $"{what} cannot be coerced: only text attributes of the data set can");
        }

        if (tag == DicomTags.SOPInstanceUID || tag == DicomTags.SOPClassUID || tag == DicomTags.SpecificCharacterSet)
        {
            throw Wrong(value, $"{what} says which instance this is or how it is read, and is not coerced");
        }

        var text = value is YamlScalarNode { Value: "null" or "~" or "", Style: ScalarStyle.Plain } ? null : Text(value);
        for (var open = text?.IndexOf('{', StringComparison.Ordinal) ?? -1; open >= 0; open = text!.IndexOf('{', open + 1))
        {
            var close = text!.IndexOf('}', open);
            Tag(parent, close > open ? text[(open + 1)..close] : text[open..], value);
        }

        return new CoercedAttribute(tag, text);
    }

    private DicomTag Tag(YamlNode parent, string text, YamlNode at) =>
        DicomTag.TryParse(text, out var tag) || DicomDictionary.TryGetTag(text, out tag)
            ? tag
            : throw Wrong(at ?? parent, $"there is no attribute '{text}'. {Nearest.Hint(text, DicomDictionary.AllKeywords.Append("peer").Append("called"))}");

    private static bool Flag(Dictionary<string, YamlNode> keys, string key) =>
        keys.TryGetValue(key, out var node) && node is YamlScalarNode { Value: "true" };

    private List<YamlNode> ListOrOne(Dictionary<string, YamlNode> keys, string key) =>
        !keys.TryGetValue(key, out var node) ? [] : node is YamlSequenceNode ? List(keys, key, 100) : [node];

    private List<YamlNode> List(Dictionary<string, YamlNode> keys, string key, int most) =>
        !keys.TryGetValue(key, out var node) ? []
        : node is not YamlSequenceNode list ? throw Wrong(node, $"{key} is a list: lines that begin with '-'")
        : list.Children.Count > most ? throw Wrong(node, $"{key} has {list.Children.Count} entries; at most {most} are accepted")
        : [.. list.Children];

    private Dictionary<string, YamlNode> Map(YamlNode node, params IReadOnlyList<string> known)
    {
        var keys = new Dictionary<string, YamlNode>(StringComparer.Ordinal);
        foreach (var (key, value) in (node as YamlMappingNode ?? throw Wrong(node, "'key: value' lines are expected")).Children)
        {
            var name = Text(key);
            if (known.Count > 0 && !known.Contains(name))
            {
                throw Unknown(key, "setting", name, known);
            }

            keys.Add(name, value);
        }

        return keys;
    }

    private string RequiredText(YamlNode node, Dictionary<string, YamlNode> keys, string key) =>
        OptionalText(keys, key) is { Length: > 0 } text ? text : throw Wrong(node, $"'{key}' is missing");

    private string? OptionalText(Dictionary<string, YamlNode> keys, string key) => keys.TryGetValue(key, out var node) ? Text(node) : null;

    private string Text(YamlNode node) => (node as YamlScalarNode ?? throw Wrong(node, "one value is expected")).Value ?? "";

    private SettingException Unknown(YamlNode node, string kind, string name, IEnumerable<string> known) =>
        Wrong(node, $"there is no {kind} '{name}'. {Nearest.Hint(name, known)}");

    private SettingException Wrong(YamlNode node, string message) => new($"{_path}:{Line(node)}: {message}");

    private static int Line(YamlNode node) => (int)node.Start.Line;
}
