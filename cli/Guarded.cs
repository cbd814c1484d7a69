using System.Security.Cryptography;
using System.Text.Json;
using Yizhan.Sops;

namespace Yizhan.Cli;

/// <summary>What commands that work on files say when one of them is not as it should be: one line, and an exit code of sysexits.h.</summary>
internal static class Guarded
{
    /// <summary>Runs a command. 66 (EX_NOINPUT) when a file cannot be read or written, 65 (EX_DATAERR) when what is in it, or was given, is not what is accepted, 1 for a secret that cannot be opened.</summary>
    public static int Run(Func<int> command)
    {
        try
        {
            return command();
        }
        catch (SopsException e)
        {
            return Say(e, 1);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Say(e, 66);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException or FormatException or JsonException)
        {
            return Say(e, 65);
        }
    }

    private static int Say(Exception e, int code)
    {
        Console.Error.WriteLine($"yizhan: {e.Message}");
        return code;
    }
}
