using System.Diagnostics;
using System.Security.Cryptography;

namespace Yizhan.Sops.Tests;

public sealed class AgeTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(64 * 1024)]
    [InlineData((64 * 1024) + 1)]
    [InlineData(200_000)]
    [Trait("Clause", "D7.1")]
    public async Task Debians_age_opens_what_we_encrypt_and_we_open_what_it_encrypts(int length)
    {
        Assert.SkipUnless(File.Exists("/usr/bin/age"), "age is not installed; ./check installs it.");
        using var folder = new Folder();
        await RunAsync("age-keygen", ["-o", folder.In("theirs")]);
        var theirs = AgeIdentity.ParseFile(await File.ReadAllTextAsync(folder.In("theirs"), Cancel)).Single();
        using var ours = AgeIdentity.Generate();
        await File.WriteAllTextAsync(folder.In("ours"), ours.ToSecretText() + "\n", Cancel);
        Assert.Equal(ours.Recipient.ToString(), (await RunAsync("age-keygen", ["-y", folder.In("ours")])).Trim());
        var plain = RandomNumberGenerator.GetBytes(length);

        await File.WriteAllTextAsync(folder.In("file.age"), Age.Encrypt(plain, [ours.Recipient, theirs.Recipient]), Cancel);
        foreach (var key in new[] { "ours", "theirs" })
        {
            await RunAsync("age", ["-d", "-i", folder.In(key), "-o", folder.In("opened"), folder.In("file.age")]);
            // age makes no file when there is nothing to write.
            Assert.Equal(plain, File.Exists(folder.In("opened")) ? await File.ReadAllBytesAsync(folder.In("opened"), Cancel) : []);
        }

        await File.WriteAllBytesAsync(folder.In("plain"), plain, Cancel);
        await RunAsync("age", ["-a", "-r", theirs.Recipient.ToString(), "-r", ours.Recipient.ToString(), "-o", folder.In("back.age"), folder.In("plain")]);
        Assert.Equal(plain, Age.Decrypt(await File.ReadAllTextAsync(folder.In("back.age"), Cancel), [ours]));
        theirs.Dispose();
    }

    [Fact]
    public void Who_is_no_recipient_cannot_open_it()
    {
        using var mine = AgeIdentity.Generate();
        using var other = AgeIdentity.Generate();
        Assert.Contains("None of the keys", Assert.Throws<SopsException>(() => Age.Decrypt(Age.Encrypt("x"u8, [mine.Recipient]), [other])).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_flipped_bit_or_a_cut_anywhere_is_noticed()
    {
        using var mine = AgeIdentity.Generate();
        var armored = Age.Encrypt(new byte[70_000], [mine.Recipient]);
        var file = Convert.FromBase64String(string.Concat(armored.Split('\n').Where(l => l.Length > 0 && l[0] != '-')));
        for (var at = 0; at < file.Length; at += at < 400 ? 1 : 997)
        {
            var flipped = file.ToArray();
            flipped[at] ^= 1;
            Assert.Throws<SopsException>(() => Age.Decrypt(Armor(flipped), [mine]));
            Assert.Throws<SopsException>(() => Age.Decrypt(Armor(file[..at]), [mine]));
        }

        Assert.Equal(70_000, Age.Decrypt(Armor(file), [mine]).Length);
    }

    [Theory]
    [InlineData("")]
    [InlineData("-----BEGIN AGE ENCRYPTED FILE-----\n-----END AGE ENCRYPTED FILE-----\n")]
    [InlineData("-----BEGIN AGE ENCRYPTED FILE-----\nYWdl\nYWdl\n-----END AGE ENCRYPTED FILE-----\n")]
    [InlineData("-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5cHRpb24ub3JnL3YyCg==\n-----END AGE ENCRYPTED FILE-----\n")]
    public void What_is_no_age_file_is_refused(string text)
    {
        using var mine = AgeIdentity.Generate();
        Assert.Throws<SopsException>(() => Age.Decrypt(text, [mine]));
    }

    [Fact]
    public void A_key_with_a_wrong_letter_or_mixed_case_is_refused_and_not_repeated()
    {
        using var mine = AgeIdentity.Generate();
        var text = mine.ToSecretText();
        var wrong = text[..^1] + (text[^1] == 'Q' ? 'P' : 'Q');
        var refused = Assert.Throws<SopsException>(() => AgeIdentity.ParseFile($"# made today\n\n{wrong}\n"));
        Assert.StartsWith("Line 3 is not a private age key", refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(wrong[20..], refused.Message, StringComparison.Ordinal);
        Assert.Throws<SopsException>(() => AgeRecipient.Parse(mine.Recipient.ToString().Replace("age1", "AGE1", StringComparison.Ordinal)));
        Assert.Throws<SopsException>(() => AgeRecipient.Parse("age1short"));
        Assert.Equal(mine.Recipient.ToString(), AgeRecipient.Parse(mine.Recipient.ToString()).ToString());
    }

    private static string Armor(byte[] file) =>
        "-----BEGIN AGE ENCRYPTED FILE-----\n" + string.Join('\n', Convert.ToBase64String(file).Chunk(64).Select(c => new string(c))) + "\n-----END AGE ENCRYPTED FILE-----\n";

    private static async Task<string> RunAsync(string program, string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var (output, errors) = (process.StandardOutput.ReadToEndAsync(Cancel), process.StandardError.ReadToEndAsync(Cancel));
        await process.WaitForExitAsync(Cancel);
        Assert.True(process.ExitCode == 0, $"{program}: {await errors}");
        return await output;
    }
}

/// <summary>A folder of one test.</summary>
internal sealed class Folder : IDisposable
{
    private readonly string _path = Directory.CreateTempSubdirectory("yizhan-sops-").FullName;

    public string In(string name) => Path.Combine(_path, name);

    public void Dispose() => Directory.Delete(_path, recursive: true);
}
