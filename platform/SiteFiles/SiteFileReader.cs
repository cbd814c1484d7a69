using System.Collections;
using System.ComponentModel.DataAnnotations;
using System.Globalization;
using System.Reflection;
using System.Text.RegularExpressions;

namespace Yizhan.Platform.SiteFiles;

/// <summary>A fault of a site file.</summary>
/// <param name="File">The file as it was named.</param>
/// <param name="Line">Line, from 1.</param>
/// <param name="Column">Column, from 1.</param>
/// <param name="Message">The key, its value, and what would be accepted.</param>
public sealed record SiteFileProblem(string File, int Line, int Column, string Message)
{
    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{File}:{Line}:{Column}: {Message}");
}

/// <summary>What reading a site file gave.</summary>
/// <param name="Site">The site; null when there are problems.</param>
/// <param name="Problems">Faults in the order of the file; at most 100.</param>
public sealed record SiteFileResult(SiteFile? Site, IReadOnlyList<SiteFileProblem> Problems);

/// <summary>Reads site files strictly: every key known, every value of its type and range, every reference to something that is there.</summary>
public sealed partial class SiteFileReader
{
    /// <summary>Largest site file, in bytes.</summary>
    public const int MaxBytes = StrictYaml.MaxBytes;

    private const int MaxProblems = 100;

    private readonly string _name;
    private readonly List<SiteFileProblem> _problems = [];
    private readonly Dictionary<string, YamlItem> _places = new(StringComparer.Ordinal);

    private SiteFileReader(string name) => _name = name;

    /// <summary>Reads a site file.</summary>
    /// <param name="utf8">Its bytes.</param>
    /// <param name="name">How problems name it.</param>
    public static SiteFileResult Read(ReadOnlySpan<byte> utf8, string name)
    {
        var reader = new SiteFileReader(name);
        SiteFile? site = null;
        try
        {
            site = (SiteFile)reader.Record(StrictYaml.Parse(utf8), typeof(SiteFile), "");
            if (reader._problems.Count == 0)
            {
                foreach (var (path, message) in SiteFileRules.Check(site))
                {
                    reader.Add(reader.PlaceOf(path), $"{path} {message}");
                }
            }
        }
        catch (StrictYamlException e)
        {
            reader._problems.Add(new(name, e.Line, e.Column, e.Message));
        }

        var problems = reader._problems.OrderBy(p => p.Line).ThenBy(p => p.Column).Take(MaxProblems).ToArray();
        return new(problems.Length == 0 ? site : null, problems);
    }

    /// <summary>Reads a site file from disk; a file that is too large is not read into memory.</summary>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static SiteFileResult ReadFile(string path)
    {
        var length = new FileInfo(path).Length;
        return length > MaxBytes
            ? new(null, [new(path, 1, 1, $"The file has {length} bytes; accepted: up to {MaxBytes}.")])
            : Read(File.ReadAllBytes(path), path);
    }

    /// <summary>Members of a record in the order of its source, by the name that they have in YAML.</summary>
    internal static IEnumerable<(string Key, PropertyInfo Property)> Members(Type record) =>
        record.GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(p => p.CanWrite).Select(p => (Camel(p.Name), p));

    private static string Camel(string name) => char.ToLowerInvariant(name[0]) + name[1..];

    private object Record(YamlMap map, Type type, string path)
    {
        var record = Activator.CreateInstance(type)!;
        var members = Members(type).ToDictionary(m => m.Key, m => m.Property, StringComparer.Ordinal);
        var meant = new HashSet<string?>();
        foreach (var (key, value) in map.Entries)
        {
            if (!members.TryGetValue(key.Text, out var property))
            {
                Add(key, $"There is no key '{key.Text}'{(path.Length == 0 ? "" : $" in {path}")}. {Spelling.Hint(key.Text, members.Keys, "")}");
                meant.Add(Spelling.Nearest(key.Text, members.Keys));
                continue;
            }

            var at = path.Length == 0 ? key.Text : $"{path}.{key.Text}";
            _places[at] = value;
            if (Value(value, property.PropertyType, property, at) is { } bound)
            {
                property.SetValue(record, bound);
            }
        }

        foreach (var (key, property) in members)
        {
            if (property.IsDefined(typeof(RequiredAttribute)) && !meant.Contains(key) && !map.Entries.Any(e => e.Key.Text == key))
            {
                Add(map, $"{(path.Length == 0 ? key : $"{path}.{key}")} is missing; accepted: {Accepted(property)}.");
            }
        }

        return record;
    }

    /// <summary>The value as an object of the type; null after a problem was noted.</summary>
    private object? Value(YamlItem item, Type type, PropertyInfo property, string path)
    {
        type = Nullable.GetUnderlyingType(type) ?? type;
        if (type.IsGenericType && type.GetGenericTypeDefinition() == typeof(IReadOnlyList<>))
        {
            return item is YamlList list ? List(list, type.GetGenericArguments()[0], property, path) : Mistyped(item, path, "a list");
        }

        if (type != typeof(string) && type.IsClass)
        {
            return item is YamlMap map ? Record(map, type, path) : Mistyped(item, path, "a group of 'key: value' lines");
        }

        if (item is not YamlScalar scalar)
        {
            return Mistyped(item, path, Accepted(property));
        }

        return Scalar(scalar, type, property, path);
    }

    private Array? List(YamlList list, Type element, PropertyInfo property, string path)
    {
        var before = _problems.Count;
        var length = property.GetCustomAttribute<LengthAttribute>()!;
        if (list.Items.Count < length.MinimumLength || list.Items.Count > length.MaximumLength)
        {
            Add(list, $"{path} has {list.Items.Count} elements; accepted: {length.MinimumLength} to {length.MaximumLength}.");
            return null;
        }

        var array = Array.CreateInstance(element, list.Items.Count);
        for (var i = 0; i < list.Items.Count; i++)
        {
            var at = string.Create(CultureInfo.InvariantCulture, $"{path}[{i}]");
            _places[at] = list.Items[i];
            array.SetValue(Value(list.Items[i], element, property, at), i);
        }

        return _problems.Count == before ? array : null;
    }

    private object? Scalar(YamlScalar scalar, Type type, PropertyInfo property, string path)
    {
        var shown = Shown(scalar.Text);
        if (scalar is { Plain: true, Text: "" or "~" or "null" })
        {
            return Problem(scalar, $"{path} is empty; accepted: {Accepted(property)}, or leave the key out.");
        }

        if (type == typeof(bool))
        {
            return scalar is { Plain: true, Text: "true" or "false" } ? scalar.Text == "true" : Mistyped(scalar, path, "true or false");
        }

        if (type == typeof(int))
        {
            var range = property.GetCustomAttribute<RangeAttribute>()!;
            return !scalar.Plain ? Problem(scalar, $"{path} is '{shown}' in quotes; accepted: {Accepted(property)}.")
                : !int.TryParse(scalar.Text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number) ? Mistyped(scalar, path, Accepted(property))
                : number < (int)range.Minimum || number > (int)range.Maximum
                    ? Problem(scalar, $"{path} is {number}; accepted: {Accepted(property)}.")
                    : number;
        }

        // Without quotes these are a number or a truth value for every other reader of the file.
        if (scalar.Plain && (scalar.Text is "true" or "false" || Number().IsMatch(scalar.Text)))
        {
            return Problem(scalar, $"{path} is {shown} without quotes, which is not text; accepted: \"{shown}\".");
        }

        var fits = property.GetCustomAttribute<AllowedValuesAttribute>() is { } allowed ? allowed.Values.Contains(scalar.Text)
            : property.GetCustomAttribute<FormatAttribute>() is { } format ? SiteFormats.Of(format.Name).Matches(scalar.Text)
            : property.PropertyType != typeof(string) || property.GetCustomAttribute<LengthAttribute>() is not { } length
                || (scalar.Text.Length >= length.MinimumLength && scalar.Text.Length <= length.MaximumLength && !scalar.Text.Any(char.IsControl));
        return fits && scalar.Text.Length is > 0 and <= 1024 ? scalar.Text : Problem(scalar, $"{path} is '{shown}'; accepted: {Accepted(property)}.");
    }

    private static string Accepted(PropertyInfo property) =>
        property.GetCustomAttribute<AllowedValuesAttribute>() is { } allowed ? string.Join(", ", allowed.Values)
        : property.GetCustomAttribute<FormatAttribute>() is { } format ? SiteFormats.Of(format.Name).Accepted
        : property.GetCustomAttribute<RangeAttribute>() is { } range ? $"a whole number from {range.Minimum} to {range.Maximum}"
        : property.PropertyType == typeof(bool) ? "true or false"
        : property.PropertyType != typeof(string) && property.PropertyType.IsAssignableTo(typeof(IEnumerable)) ? "text"
        : property.GetCustomAttribute<LengthAttribute>() is { } length ? $"{length.MinimumLength} to {length.MaximumLength} characters"
        : "a group of 'key: value' lines";

    private object? Mistyped(YamlItem item, string path, string accepted) => Problem(item, item switch
    {
        YamlScalar scalar => $"{path} is '{Shown(scalar.Text)}'; accepted: {accepted}.",
        YamlList => $"{path} is a list; accepted: {accepted}.",
        _ => $"{path} is a group of 'key: value' lines; accepted: {accepted}.",
    });

    private object? Problem(YamlItem item, string message)
    {
        Add(item, message);
        return null;
    }

    private void Add(YamlItem item, string message) => _problems.Add(new(_name, item.Line, item.Column, message));

    /// <summary>Where a value stands; what a default gave stands where its group begins.</summary>
    private YamlItem PlaceOf(string path)
    {
        while (true)
        {
            if (_places.TryGetValue(path, out var place))
            {
                return place;
            }

            var cut = path.LastIndexOfAny(['.', '[']);
            if (cut < 0)
            {
                return new YamlScalar(1, 1, "", true);
            }

            path = path[..cut];
        }
    }

    private static string Shown(string text) => text.Length > 40 ? text[..40] + "…" : text;

    // YAML 1.2 §10.3.2: integers and floats of the core schema.
    [GeneratedRegex(@"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|^0[xo][0-9a-fA-F]+$")]
    private static partial Regex Number();
}
