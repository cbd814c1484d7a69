using System.Globalization;

namespace Yizhan.PacsGw.Rendering;

/// <summary>How a window maps values to grey (PS3.3 §C.11.2.1.2 and .3).</summary>
internal enum WindowFunction
{
    Linear,
    LinearExact,
    Sigmoid,
}

/// <summary>A window, in output units of the modality transformation.</summary>
internal sealed record Window(double Center, double Width, WindowFunction Function)
{
    /// <summary>True when the function is defined for the width.</summary>
    public bool IsPossible => Function == WindowFunction.Linear ? Width >= 1 : Width > 0;

    /// <summary>0 for black to 1 for white.</summary>
    public double Apply(double value) => Math.Clamp(
        Function switch
        {
            WindowFunction.Linear => Width > 1 ? ((value - (Center - 0.5)) / (Width - 1)) + 0.5 : value <= Center - 0.5 ? 0 : 1,
            WindowFunction.LinearExact => ((value - Center) / Width) + 0.5,
            _ => 1 / (1 + Math.Exp(-4 * (value - Center) / Width)),
        },
        0,
        1);
}

/// <summary>The size of the picture, and the part of the image that it shows; the whole image when there is no part.</summary>
internal sealed record Viewport(int Width, int Height, int X = 0, int Y = 0, int RegionWidth = 0, int RegionHeight = 0);

/// <summary>The query parameters of rendered resources, PS3.18 §8.3.5.</summary>
/// <param name="Window">Replaces the data set's window.</param>
/// <param name="Viewport">Size and part; null for the image's own.</param>
/// <param name="Quality">Of JPEG, 1 to 100.</param>
internal sealed record RenderQuery(Window? Window, Viewport? Viewport, int Quality)
{
    public const int DefaultQuality = 90;

    /// <summary>Widest and highest picture: a bound for what one request may allocate.</summary>
    private const int MaxSide = 8192;

    /// <summary>Reads the parameters.</summary>
    /// <param name="query">Of the request.</param>
    /// <param name="error">What is wrong and what is accepted; null when nothing is.</param>
    public static RenderQuery? Read(IQueryCollection query, out string? error)
    {
        error = null;
        Window? window = null;
        Viewport? viewport = null;
        var quality = DefaultQuality;
        if (query.TryGetValue("window", out var windowText) && !TryWindow(windowText.ToString(), out window))
        {
            error = $"window is '{windowText}'; accepted is CENTER,WIDTH or CENTER,WIDTH,FUNCTION with a width of at least 1 and the functions linear, linear-exact and sigmoid.";
        }
        else if (query.TryGetValue("viewport", out var viewportText) && !TryViewport(viewportText.ToString(), out viewport))
        {
            error = $"viewport is '{viewportText}'; accepted is WIDTH,HEIGHT or WIDTH,HEIGHT,X,Y,REGIONWIDTH,REGIONHEIGHT, sides from 1 to {MaxSide}.";
        }
        else if (query.TryGetValue("quality", out var qualityText)
            && !(int.TryParse(qualityText, NumberStyles.None, CultureInfo.InvariantCulture, out quality) && quality is >= 1 and <= 100))
        {
            error = $"quality is '{qualityText}'; accepted is 1 to 100.";
        }
        else if (query.ContainsKey("annotation"))
        {
            error = "annotation is not supported: nothing is burned into images.";
        }

        return error is null ? new RenderQuery(window, viewport, quality) : null;
    }

    private static bool TryWindow(string text, out Window? window)
    {
        window = null;
        var parts = text.Split(',');
        if (parts.Length is not (2 or 3) || !TryNumber(parts[0], out var center) || !TryNumber(parts[1], out var width))
        {
            return false;
        }

        WindowFunction? function = parts.ElementAtOrDefault(2)?.ToUpperInvariant() switch
        {
            null or "LINEAR" => WindowFunction.Linear,
            "LINEAR-EXACT" or "LINEAR_EXACT" => WindowFunction.LinearExact,
            "SIGMOID" => WindowFunction.Sigmoid,
            _ => null,
        };
        window = function is { } known ? new Window(center, width, known) : null;
        return window is { IsPossible: true };
    }

    private static bool TryViewport(string text, out Viewport? viewport)
    {
        viewport = null;
        var parts = text.Split(',');
        var numbers = new int[parts.Length];
        for (var i = 0; i < parts.Length; i++)
        {
            if (!int.TryParse(parts[i], NumberStyles.None, CultureInfo.InvariantCulture, out numbers[i]))
            {
                return false;
            }
        }

        viewport = numbers switch
        {
            [var w, var h] => new Viewport(w, h),
            [var w, var h, var x, var y, var rw and > 0, var rh and > 0] => new Viewport(w, h, x, y, rw, rh),
            _ => null,
        };
        return viewport is { Width: >= 1 and <= MaxSide, Height: >= 1 and <= MaxSide };
    }

    private static bool TryNumber(string text, out double number) =>
        double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out number) && double.IsFinite(number);
}
