using System.Security.Cryptography;
using System.Text.Json;
using Yizhan.Sops;

namespace Yizhan.Cli;

/// <summary>What commands that work on files say when one of them is not as it should be: one line, and that it failed.</summary>
internal static class Guarded
{
    /// <summary>Reads a file that the command line names. An error says which file and what it should be, and nothing of what is in it: it may be a secret.</summary>
    /// <exception cref="InvalidDataException">It is something else.</exception>
    public static T Read<T>(string path, string what, Func<string, T?> read)
    {
        var text = File.ReadAllText(path);
        try
        {
            return read(text) ?? throw new FormatException();
        }
        catch (Exception e) when (e is JsonException or FormatException or CryptographicException or ArgumentException)
        {
            throw new InvalidDataException($"'{path}' is not {what}.");
        }
    }

    /// <summary>The key of a PEM file.</summary>
    public static ECDsa Key(FileInfo file) => Read(file.FullName, "a key in PEM", text =>
    {
        var key = ECDsa.Create();
        key.ImportFromPem(text);
        return key;
    });

    /// <summary>Runs a command. It failed when a file cannot be read or written, when what is in it, or was given, is not what is accepted, and when a secret cannot be opened.</summary>
    public static int Run(Func<int> command)
    {
        try
        {
            return command();
        }
        catch (Exception e) when (e is SopsException or IOException or UnauthorizedAccessException or InvalidDataException or CryptographicException or ArgumentException or FormatException or JsonException)
        {
            Console.Error.WriteLine($"yizhan: {e.Message}");
            return CommandLine.Failed;
        }
    }
}
