using Yizhan.Platform.Identity;
using Yizhan.Platform.SiteFiles;

namespace Yizhan.Platform.Flows;

/// <summary>One line of <c>infra/flows.yaml</c>.</summary>
/// <param name="From">Who calls.</param>
/// <param name="To">Who is called.</param>
/// <param name="Port">Name of the port there, such as <c>web</c>.</param>
/// <param name="Why">For people.</param>
/// <param name="As">
/// What the caller is there by its certificate alone, without a token: roles, separated by spaces. Empty: nothing, it is let in and needs a token for
/// whatever is not open to all.
/// </param>
public sealed record Flow(string From, string To, string Port, string Why, string As = "");

/// <summary>
/// Who may call whom, from the same file out of which the NetworkPolicies are made. What is not in it may not: the network refuses the
/// packet, and the listener refuses the certificate.
/// </summary>
public sealed class FlowList
{
    /// <summary>Port of HTTP between services.</summary>
    public const string Web = "web";

    private FlowList(IReadOnlyList<Flow> flows) => Flows = flows;

    /// <summary>All lines.</summary>
    public IReadOnlyList<Flow> Flows { get; }

    /// <summary>Reads the file.</summary>
    /// <exception cref="InvalidDataException">It is not such a file; the message has the place.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static FlowList Read(string path)
    {
        try
        {
            var top = StrictYaml.Parse(File.ReadAllBytes(path));
            if (top.Entries is not [({ Text: "flows" }, YamlList list)])
            {
                throw new InvalidDataException($"{path}:{top.Line}: accepted is one key, flows, with a list.");
            }

            return new FlowList([.. list.Items.Select(item => One(path, item))]);
        }
        catch (StrictYamlException e)
        {
            throw new InvalidDataException($"{path}: {e.Message}", e);
        }
    }

    /// <summary>Whether one may call another.</summary>
    public bool MayCall(string from, string to, string port) => Flows.Any(flow => flow.From == from && flow.To == to && flow.Port == port);

    private static Flow One(string path, YamlItem item)
    {
        var keys = item is YamlMap map
            ? map.Entries.ToDictionary(entry => entry.Key.Text, entry => (entry.Value as YamlScalar)?.Text ?? "", StringComparer.Ordinal)
            : [];
        var roles = keys.GetValueOrDefault("as", "");
        if (Array.Find(roles.Split(' ', StringSplitOptions.RemoveEmptyEntries), role => Roles.OfService(role) == Permission.None) is { } unknown)
        {
            throw new InvalidDataException($"{path}:{item.Line}: as is '{unknown}'; accepted are {string.Join(", ", Roles.NamesOfServices)}.");
        }

        return keys.Count == (keys.ContainsKey("as") ? 5 : 4) && keys.TryGetValue("from", out var from) && keys.TryGetValue("to", out var to) && keys.TryGetValue("port", out var port)
            && keys.TryGetValue("why", out var why) && from.Length > 0 && to.Length > 0 && port.Length > 0
            ? new Flow(from, to, port, why, roles)
            : throw new InvalidDataException($"{path}:{item.Line}: accepted is {{from: …, to: …, port: …, why: …}}, and as: ….");
    }
}
