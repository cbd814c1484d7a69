using System.Runtime.InteropServices;
using SkiaSharp;
using Yizhan.Platform;

namespace Yizhan.PacsGw.Codecs;

/// <summary>The native libraries that decoding needs, found when the node starts and not at the first image.</summary>
internal static class NativeCodecs
{
    /// <summary>JPEG-LS.</summary>
    public const string CharLs = "libcharls.so.2";

    /// <summary>JPEG 2000 and, from 2.5 on, HTJ2K.</summary>
    public const string OpenJpeg = "libopenjp2.so.7";

    /// <summary>Looks for each library.</summary>
    /// <exception cref="SettingException">One is missing; the message names the Debian package.</exception>
    public static void Require()
    {
        Require(CharLs, "JPEG-LS", "libcharls2");
        Require(OpenJpeg, "JPEG 2000", "libopenjp2-7");
        try
        {
            _ = new SKImageInfo(1, 1).BytesSize;
            using var probe = new SKBitmap(1, 1);
        }
        catch (Exception e) when (e is DllNotFoundException or TypeInitializationException)
        {
            throw new SettingException($"pacs-gw: libSkiaSharp for JPEG and PNG cannot be loaded beside the program: {e.Message}");
        }
    }

    private static void Require(string library, string what, string package)
    {
        if (!NativeLibrary.TryLoad(library, out _))
        {
            throw new SettingException($"pacs-gw: {library} for {what} is not installed. Install the Debian package {package}.");
        }
    }
}
