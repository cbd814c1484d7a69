namespace Yizhan.AiInfer.Clinical.Dicom;

/// <summary>Capital letters, digits and a few signs of 5 by 7 dots: a site's machine may have no fonts at all, and a disclaimer must not be blank there.</summary>
internal static class Letters
{
    /// <summary>Dots of a line.</summary>
    public const int Height = 7;

    private const int Width = 5;
    private const char Unknown = '?';

    // Each row of a letter is a number whose highest of five bits is the left dot.
    private static readonly Dictionary<char, byte[]> Rows = new()
    {
        ['A'] = [14, 17, 17, 31, 17, 17, 17],
        ['B'] = [30, 17, 17, 30, 17, 17, 30],
        ['C'] = [15, 16, 16, 16, 16, 16, 15],
        ['D'] = [30, 17, 17, 17, 17, 17, 30],
        ['E'] = [31, 16, 16, 30, 16, 16, 31],
        ['F'] = [31, 16, 16, 30, 16, 16, 16],
        ['G'] = [15, 16, 16, 19, 17, 17, 15],
        ['H'] = [17, 17, 17, 31, 17, 17, 17],
        ['I'] = [14, 4, 4, 4, 4, 4, 14],
        ['J'] = [7, 2, 2, 2, 2, 18, 12],
        ['K'] = [17, 18, 20, 24, 20, 18, 17],
        ['L'] = [16, 16, 16, 16, 16, 16, 31],
        ['M'] = [17, 27, 21, 21, 17, 17, 17],
        ['N'] = [17, 25, 21, 19, 17, 17, 17],
        ['O'] = [14, 17, 17, 17, 17, 17, 14],
        ['P'] = [30, 17, 17, 30, 16, 16, 16],
        ['Q'] = [14, 17, 17, 17, 21, 18, 13],
        ['R'] = [30, 17, 17, 30, 20, 18, 17],
        ['S'] = [15, 16, 16, 14, 1, 1, 30],
        ['T'] = [31, 4, 4, 4, 4, 4, 4],
        ['U'] = [17, 17, 17, 17, 17, 17, 14],
        ['V'] = [17, 17, 17, 17, 17, 10, 4],
        ['W'] = [17, 17, 17, 21, 21, 27, 17],
        ['X'] = [17, 17, 10, 4, 10, 17, 17],
        ['Y'] = [17, 17, 10, 4, 4, 4, 4],
        ['Z'] = [31, 1, 2, 4, 8, 16, 31],
        ['0'] = [14, 17, 19, 21, 25, 17, 14],
        ['1'] = [4, 12, 4, 4, 4, 4, 14],
        ['2'] = [14, 17, 1, 6, 8, 16, 31],
        ['3'] = [30, 1, 1, 14, 1, 1, 30],
        ['4'] = [2, 6, 10, 18, 31, 2, 2],
        ['5'] = [31, 16, 30, 1, 1, 17, 14],
        ['6'] = [14, 16, 16, 30, 17, 17, 14],
        ['7'] = [31, 1, 2, 4, 4, 8, 8],
        ['8'] = [14, 17, 17, 14, 17, 17, 14],
        ['9'] = [14, 17, 17, 15, 1, 1, 14],
        ['.'] = [0, 0, 0, 0, 0, 12, 12],
        [','] = [0, 0, 0, 0, 12, 4, 8],
        [':'] = [0, 12, 12, 0, 12, 12, 0],
        ['-'] = [0, 0, 0, 31, 0, 0, 0],
        ['/'] = [1, 1, 2, 4, 8, 16, 16],
        ['%'] = [25, 25, 2, 4, 8, 19, 19],
        ['('] = [2, 4, 8, 8, 8, 4, 2],
        [')'] = [8, 4, 2, 2, 2, 4, 8],
        ['?'] = [14, 17, 1, 6, 4, 0, 4],
    };

    /// <summary>The dots of a text, from its upper left corner. Small letters are written as capitals, what is not known as a question mark.</summary>
    public static IEnumerable<(int X, int Y)> Dots(string text)
    {
        for (var n = 0; n < text.Length; n++)
        {
            if (text[n] == ' ')
            {
                continue;
            }

            var rows = Rows.GetValueOrDefault(char.ToUpperInvariant(text[n])) ?? Rows[Unknown];
            for (var y = 0; y < Height; y++)
            {
                for (var x = 0; x < Width; x++)
                {
                    if ((rows[y] >> (Width - 1 - x) & 1) == 1)
                    {
                        yield return (n * (Width + 1) + x, y);
                    }
                }
            }
        }
    }
}
