namespace Yizhan.Sops.Tests;

public sealed class SopsTests : IDisposable
{
    private const string Yaml = """
        # who may write to the archive
        database:
          host: db.example   # not secret by itself
          port: 5432
          ratio: 0.25
          tls: true
          note:
          empty: ""
          password: "p:ä\"ss\nword"
        list:
          - one
          - {name: two, pin: 0042x}
        region_unencrypted: north
        """;

    private const string Json = """{"database":{"port":5432,"tls":false,"none":null,"password":"pä\"ss\nword"},"list":["one",{"pin":"0042"}],"region_unencrypted":"north"}""";

    private const string Dotenv = "# archive\nPASSWORD=p=ss\\nword\nEMPTY=\n\nREGION_unencrypted=north\n";

    // Written by SOPS 3.10.2 for the published test key of fluxcd/kustomize-controller.
    private const string WrittenBySops = """
        apiVersion: v1
        kind: Secret
        metadata:
          name: global-age-secret
          namespace: default
        type: Opaque
        stringData:
          key: ENC[AES256_GCM,data:5d9WYyV8eyrOhF/m,iv:wuxE+q4pB+2cXBLcOy4/eZFSteLXJJDEI001UFAPd3A=,tag:EyM2zosBOv5/DnZMUqyNJg==,type:str]
        sops:
          age:
            - recipient: age1henwn645drkd3fa34t27t2w2x0nsgw3w4h62gmg5x5xflyjpy38s5cncph
              enc: |
                -----BEGIN AGE ENCRYPTED FILE-----
                YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBhSEJIVUQrZXpkZmJ6ek1U
                enNmL2cycGJVTUp0bGJBQmhzUms5eENWd1MwCjZtUjMvT28zWU8wVHArNDdyNG1x
                RjJCK29jNEJ5bDc5M2pNVG0rcHhFQ2cKLS0tIDkzRk5zdTZ5ek4rNzNvT2l5VDJ1
                Sk01a05sV094UjFVbkhsVUhaOFhWa3MKwVILC0MO4CPlK0kniPTxOgMxej+E1NJ3
                d1vA+h/DFoHDV6fU63n/v0BLmi7q0x10pYj95u1Ef1cP24JC/G+M4g==
                -----END AGE ENCRYPTED FILE-----
          lastmodified: "2025-07-06T17:19:51Z"
          mac: ENC[AES256_GCM,data:5vkroTHj/9sLCEb+LHZEWwbrq9amLfU9QsDE6ZmpSDa/r7T2RGzX9cAhe73s2L7E5EZblsWOGLPdQCRXP/Llp19QzEU6dYs+n0IyFprjtYpL8VEB3S2aCPzdhOrN0o/pcHGmfvp4S9gXvwki1EIYhRL7ozBHNppxQGLOdVDigjg=,iv:dCzK0olxFn4QwknnYvO4LNo7SjuX04zF6saVRFQv7wY=,tag:GwL7WDw2IBxNUdGUBpBXEQ==,type:str]
          encrypted_regex: ^(data|stringData)$
          version: 3.10.2

        """;

    private const string PublishedTestKey = "AGE-SECRET-KEY-10U7MAELH09KZU63F65P2TYLN7TQM5X6GSDDCQ4YMUGDS3DS6XZMSTYY2PN"; // scan:allow published test key

    private static readonly DateTimeOffset Now = new(2026, 11, 23, 4, 0, 0, TimeSpan.Zero);

    private readonly AgeIdentity _site = AgeIdentity.Generate();
    private readonly AgeIdentity _recovery = AgeIdentity.Generate();

    public void Dispose()
    {
        _site.Dispose();
        _recovery.Dispose();
    }

    [Fact]
    [Trait("Clause", "D7.1")]
    public void A_file_that_sops_wrote_is_opened_and_its_mac_is_right()
    {
        var keys = AgeIdentity.ParseFile(PublishedTestKey);
        var (path, value) = SopsFile.Values(WrittenBySops, SopsFormat.Yaml, keys)[^1];
        Assert.Equal(("stringData.key", 12), (path, value.Length));
        Assert.Contains($"key: \"{value}\"", SopsFile.Decrypt(WrittenBySops, SopsFormat.Yaml, keys), StringComparison.Ordinal);
        Altered(WrittenBySops.Replace("namespace: default", "namespace: other", StringComparison.Ordinal), SopsFormat.Yaml, keys, "The MAC does not fit");
    }

    [Theory]
    [InlineData(SopsFormat.Yaml, Yaml)]
    [InlineData(SopsFormat.Json, Json)]
    [InlineData(SopsFormat.Dotenv, Dotenv)]
    [Trait("Clause", "D7.1")]
    public void What_is_encrypted_comes_back_with_its_types_and_nothing_secret_stays_readable(SopsFormat format, string plain)
    {
        var encrypted = SopsFile.Encrypt(plain, format, [_site.Recipient, _recovery.Recipient], SopsRules.Default, Now);
        Assert.DoesNotContain("word", encrypted.Replace("password", "", StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.DoesNotContain("5432", encrypted, StringComparison.Ordinal);
        Assert.Contains("north", encrypted, StringComparison.Ordinal);
        Assert.Empty(SopsFile.PlainValues(encrypted, format));
        Assert.NotEmpty(SopsFile.PlainValues(plain, format));
        foreach (var key in new[] { _site, _recovery })
        {
            var values = SopsFile.Values(encrypted, format, [key]);
            Assert.Equal(SopsTree.Parse(plain, format).Leaves.Select(l => l.Value.Text), values.Select(v => v.Value));
            var back = SopsFile.Decrypt(encrypted, format, [key]);
            Assert.Equal(SopsTree.Parse(plain, format).Leaves.Select(l => l.Value), SopsTree.Parse(back, format).Leaves.Select(l => l.Value));
        }
    }

    [Fact]
    public void Yaml_keeps_its_comments_order_and_what_is_not_encrypted()
    {
        var encrypted = SopsFile.Encrypt(Yaml, SopsFormat.Yaml, [_site.Recipient], SopsRules.Default with { UnencryptedSuffix = null, EncryptedRegex = "^(password|pin)$" }, Now);
        Assert.StartsWith("# who may write to the archive\ndatabase:\n  host: db.example   # not secret by itself\n  port: 5432\n", encrypted, StringComparison.Ordinal);
        Assert.Contains("  password: ENC[AES256_GCM,data:", encrypted, StringComparison.Ordinal);
        Assert.Contains("{name: two, pin: \"ENC[AES256_GCM,data:", encrypted, StringComparison.Ordinal);
        Assert.StartsWith("# who may write to the archive\ndatabase:\n  host: db.example   # not secret by itself\n", SopsFile.Decrypt(encrypted, SopsFormat.Yaml, [_site]), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(SopsFormat.Yaml, Yaml, "5432", "5433")]
    [InlineData(SopsFormat.Json, Json, "north", "south")]
    [InlineData(SopsFormat.Dotenv, Dotenv, "north", "south")]
    public void A_value_that_was_changed_moved_or_removed_without_a_key_is_noticed(SopsFormat format, string plain, string from, string to)
    {
        var rules = format == SopsFormat.Yaml ? new SopsRules { EncryptedRegex = "^password$" } : SopsRules.Default;
        var encrypted = SopsFile.Encrypt(plain, format, [_site.Recipient], rules, Now);
        Altered(encrypted.Replace(from, to, StringComparison.Ordinal), format, [_site], "The MAC does not fit");
        var moved = encrypted.Replace("assword", "assw0rd", StringComparison.Ordinal).Replace("PASSWORD", "PASSW0RD", StringComparison.Ordinal).Replace("^passw0rd$", "^passw0rd$", StringComparison.Ordinal);
        Altered(moved, format, [_site], "moved from another key");
        Altered(encrypted.Replace("2026-11-23T04:00:00Z", "2026-11-23T04:00:01Z", StringComparison.Ordinal), format, [_site], "was altered");
        Altered(encrypted, format, [_recovery], "None of the keys at hand");
    }

    [Fact]
    [Trait("Clause", "D7.1")]
    public void A_rotation_leaves_the_removed_recipient_nothing_to_read_and_a_set_changes_one_line()
    {
        var both = SopsFile.Encrypt(Yaml, SopsFormat.Yaml, [_site.Recipient, _recovery.Recipient], SopsRules.Default, Now);
        var set = SopsFile.Set(both, SopsFormat.Yaml, "database.password", "another", [_site], Now.AddMinutes(1));
        Assert.Equal(1, Lines(set).Zip(Lines(both)).Count(l => l.First != l.Second));
        Assert.Contains(("database.password", "another"), SopsFile.Values(set, SopsFormat.Yaml, [_recovery]));

        var rotated = SopsFile.Rotate(set, SopsFormat.Yaml, [_site], [_recovery.Recipient], Now.AddMinutes(2));
        Altered(rotated, SopsFormat.Yaml, [_site], "None of the keys at hand");
        Assert.Equal(SopsFile.Values(set, SopsFormat.Yaml, [_site]), SopsFile.Values(rotated, SopsFormat.Yaml, [_recovery]));
        Assert.DoesNotContain(Lines(rotated).Intersect(Lines(set)), line => line.Contains("ENC[", StringComparison.Ordinal));
        Assert.Contains("accepted: database.host", Assert.Throws<SopsException>(() => SopsFile.Set(set, SopsFormat.Yaml, "nope", "x", [_site], Now)).Message, StringComparison.Ordinal);

        static string[] Lines(string text) => text.Split("\nsops:")[0].Split('\n');
    }

    [Fact]
    public void The_mac_over_encrypted_values_only_is_another_one()
    {
        var rules = new SopsRules { EncryptedRegex = "^password$", MacOnlyEncrypted = true };
        var encrypted = SopsFile.Encrypt(Json, SopsFormat.Json, [_site.Recipient], rules, Now);
        Assert.NotEmpty(SopsFile.Decrypt(encrypted.Replace("north", "south", StringComparison.Ordinal), SopsFormat.Json, [_site]));
        Altered(encrypted.Replace("\"mac_only_encrypted\": true", "\"mac_only_encrypted\": false", StringComparison.Ordinal), SopsFormat.Json, [_site], "The MAC does not fit");
    }

    [Theory]
    [InlineData(SopsFormat.Yaml, "a: &x 1\nb: *x\n", "Line 1")]
    [InlineData(SopsFormat.Yaml, "until: 2027-12-31\n", "Line 1, column 8: readers of YAML do not agree")]
    [InlineData(SopsFormat.Yaml, "mode: 0644\n", "readers of YAML do not agree")]
    [InlineData(SopsFormat.Yaml, "a: 1\n---\nb: 2\n", "second document")]
    [InlineData(SopsFormat.Yaml, "- a\n", "this is not YAML with keys at its top")]
    [InlineData(SopsFormat.Json, "[1]", "not a JSON object")]
    [InlineData(SopsFormat.Json, "{\"a\":1,\"a\":2}", "this is not JSON")]
    [InlineData(SopsFormat.Dotenv, "A=1\nB\n", "Line 2 has no '='")]
    public void What_cannot_be_encrypted_safely_is_refused(SopsFormat format, string text, string message) => Assert.Contains(
        message, Assert.Throws<SopsException>(() => SopsFile.Encrypt(text, format, [_site.Recipient], SopsRules.Default, Now)).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData(1e21, "1000000000000000000000")]
    [InlineData(-1.5e-7, "-0.00000015")]
    [InlineData(0.1, "0.1")]
    [InlineData(3, "3")]
    public void A_number_is_written_without_an_exponent(double number, string text) => Assert.Equal(text, SopsValue.Decimal(number));

    private static void Altered(string text, SopsFormat format, IReadOnlyList<AgeIdentity> keys, string message) => Assert.Contains(
        message, Assert.Throws<SopsException>(() => SopsFile.Decrypt(text, format, keys)).Message, StringComparison.Ordinal);
}
