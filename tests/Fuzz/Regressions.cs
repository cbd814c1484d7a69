using System.Globalization;

namespace Yizhan.Fuzz;

/// <summary>An input that once went wrong.</summary>
internal sealed record Regression(int Line, string Target, int Choice, byte[] Input);

/// <summary>The file of them: target, choice and input in base64 on one line, what it was in a comment above.</summary>
internal static class Regressions
{
    /// <exception cref="FormatException">A line is neither empty, a comment, nor a regression; the message names it.</exception>
    public static IReadOnlyList<Regression> Read(string path)
    {
        var found = new List<Regression>();
        var number = 0;
        foreach (var line in File.ReadLines(path))
        {
            number++;
            if (line.Length > 0 && line[0] != '#')
            {
                found.Add(line.Split(' ') is [var target, var choice, var input]
                    ? new Regression(number, target, int.Parse(choice, CultureInfo.InvariantCulture), Convert.FromBase64String(input))
                    : throw new FormatException($"{path}:{number} is not 'target choice base64'."));
            }
        }

        return found;
    }
}
