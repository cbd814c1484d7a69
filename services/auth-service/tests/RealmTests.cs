using System.Text.Json.Nodes;
using Yizhan.Platform.Identity;

namespace Yizhan.Auth.Tests;

/// <summary>The realm file for Keycloak says what the code means: its roles, its claims, its audience; and has the shape of Keycloak's own files.</summary>
[Trait("Clause", "S1")]
public sealed class RealmTests
{
    private static readonly JsonNode Realm = JsonNode.Parse(File.ReadAllText(Path.Combine(Root(), "infra", "keycloak", "yizhan-realm.json")))!;

    [Fact]
    public void Its_roles_are_those_of_the_code() =>
        Assert.Equal(Roles.Names, Realm["roles"]!["realm"]!.AsArray().Select(r => (string)r!["name"]!).Order(StringComparer.Ordinal));

    [Fact]
    public void Its_scope_maps_the_claims_that_are_read_and_the_audience_that_is_asked_for()
    {
        var mappers = Realm["clientScopes"]!.AsArray().Single(s => (string)s!["name"]! == "yizhan")!["protocolMappers"]!.AsArray();
        foreach (var claim in new[] { "roles", "sites" })
        {
            var config = mappers.Single(m => (string?)m!["config"]!["claim.name"] == claim)!["config"]!;
            Assert.Equal(("true", "true", "true"), ((string)config["multivalued"]!, (string)config["access.token.claim"]!, (string)config["id.token.claim"]!));
        }

        var audience = mappers.Single(m => (string)m!["protocolMapper"]! == "oidc-audience-mapper")!["config"]!;
        Assert.Equal(new IdentityOptions().Audience, (string)audience["included.custom.audience"]!);
        Assert.All(Realm["clients"]!.AsArray(), client => Assert.Contains("yizhan", client!["defaultClientScopes"]!.AsArray().Select(s => (string)s!)));
    }

    [Fact]
    public void Nobody_signs_in_with_a_password_at_a_client_without_pkce_or_with_a_secret_of_the_file()
    {
        var clients = Realm["clients"]!.AsArray();
        Assert.Equal(["yizhan-cli", "yizhan-console", "yizhan-services"], clients.Select(c => (string)c!["clientId"]!).Order());
        Assert.Equal(new SignInOptions().ClientId, (string)clients.Single(c => (bool)c!["standardFlowEnabled"]!)!["clientId"]!);
        foreach (var client in clients)
        {
            Assert.False((bool)client!["implicitFlowEnabled"]! || (bool)client["directAccessGrantsEnabled"]!);
            Assert.True((bool)client["publicClient"]! || ((string)client["secret"]!).StartsWith("${YIZHAN_", StringComparison.Ordinal));
            Assert.True(!(bool)client["standardFlowEnabled"]! || (string?)client["attributes"]!["pkce.code.challenge.method"] == "S256");
            Assert.DoesNotContain(client["redirectUris"]!.AsArray(), uri => ((string)uri!).Contains('*', StringComparison.Ordinal));
        }

        Assert.DoesNotContain("credentials", Realm.ToJsonString(), StringComparison.Ordinal);
        Assert.Equal((true, false), ((bool)Realm["bruteForceProtected"]!, (bool)Realm["registrationAllowed"]!));
    }

    [Fact]
    public void Its_keys_that_the_quickstarts_of_Keycloak_have_too_are_of_the_same_kind()
    {
        var folder = Path.Combine(Directory.GetParent(Root())!.FullName, "shared", "corpus", "emr", "given", "keycloak-realm");
        Assert.SkipUnless(Directory.Exists(folder), $"{folder} is not there.");
        var known = new Dictionary<string, HashSet<System.Text.Json.JsonValueKind>>();
        foreach (var file in Directory.EnumerateFiles(folder, "*.json"))
        {
            Kinds(JsonNode.Parse(File.ReadAllText(file))!, "", known);
        }

        var ours = new Dictionary<string, HashSet<System.Text.Json.JsonValueKind>>();
        Kinds(Realm, "", ours);
        var both = ours.Where(k => known.ContainsKey(k.Key)).ToArray();
        Assert.True(both.Length >= 20, $"Only {both.Length} keys are in both.");
        Assert.All(both, key => Assert.True(key.Value.IsSubsetOf(known[key.Key]), $"{key.Key} is {string.Join(", ", key.Value)}; in Keycloak's files {string.Join(", ", known[key.Key])}."));
    }

    private static void Kinds(JsonNode node, string path, Dictionary<string, HashSet<System.Text.Json.JsonValueKind>> kinds)
    {
        switch (node)
        {
            case JsonObject o:
                foreach (var (key, value) in o)
                {
                    if (value is not null)
                    {
                        // True and false are one kind.
                        var kind = value.GetValueKind() is System.Text.Json.JsonValueKind.True ? System.Text.Json.JsonValueKind.False : value.GetValueKind();
                        (kinds.TryGetValue($"{path}/{key}", out var set) ? set : kinds[$"{path}/{key}"] = []).Add(kind);
                        Kinds(value, $"{path}/{key}", kinds);
                    }
                }

                break;
            case JsonArray a:
                foreach (var item in a.OfType<JsonNode>())
                {
                    Kinds(item, path + "[]", kinds);
                }

                break;
        }
    }

    private static string Root()
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(directory.FullName, "global.json")))
        {
            directory = directory.Parent!;
        }

        return directory.FullName;
    }
}
