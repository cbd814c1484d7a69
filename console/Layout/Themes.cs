using MudBlazor;

namespace Yizhan.Console.Layout;

/// <summary>
/// The two palettes. Each text colour has a contrast of 4.5:1 or more on the surface and the background of its palette
/// (WCAG 2.2 §1.4.3); axe checks it in the browser suite.
/// </summary>
internal static class Themes
{
    public static MudTheme Light { get; } = Theme(":root");

    public static MudTheme Dark { get; } = Theme(":root[data-theme=dark]");

    private static MudTheme Theme(string scope)
    {
        // Fonts of the operating system only: no page may need the internet.
        string[] fonts = ["system-ui", "-apple-system", "Segoe UI", "Noto Sans", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "sans-serif"];
        var theme = new MudTheme
        {
            PseudoCss = new PseudoCss { Scope = scope },
            LayoutProperties = new LayoutProperties { DefaultBorderRadius = "10px" },
            PaletteLight = new PaletteLight
            {
                Primary = "#0b6670",
                Background = "#f3f5f7",
                Surface = "#ffffff",
                AppbarBackground = "#ffffff",
                AppbarText = "#17212b",
                TextPrimary = "#17212b",
                TextSecondary = "#4c5966",
                ActionDefault = "#4c5966",
                LinesDefault = "#dde3e8",
                TableLines = "#e6ebef",
                TableHover = "#f3f7f8",
                Divider = "#dde3e8",
                Success = "#17733a",
                Warning = "#8f5100",
                Error = "#b3261e",
                Info = "#1f5fa8",
                Skeleton = "#e3e8ec",
            },
            PaletteDark = new PaletteDark
            {
                Primary = "#5cc8d0",
                Background = "#0f1519",
                Surface = "#182127",
                AppbarBackground = "#182127",
                AppbarText = "#e6edf2",
                TextPrimary = "#e6edf2",
                TextSecondary = "#a9b6c0",
                ActionDefault = "#a9b6c0",
                LinesDefault = "#2c3840",
                TableLines = "#263138",
                TableHover = "#1e2930",
                Divider = "#2c3840",
                Success = "#63d18d",
                Warning = "#f0b35c",
                Error = "#ff8b80",
                Info = "#7fb8ff",
                Skeleton = "#2c3840",
            },
        };
        theme.Typography.Default.FontFamily = fonts;
        return theme;
    }
}
