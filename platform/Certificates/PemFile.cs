using System.Text;

namespace Yizhan.Platform.Certificates;

internal static class PemFile
{
    /// <inheritdoc cref="AtomicFile.Write"/>
    public static void Write(string path, string text, bool secret, bool overwrite) =>
        AtomicFile.Write(path, Encoding.ASCII.GetBytes(text), secret, overwrite);
}
