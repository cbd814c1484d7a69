using System.Security.Cryptography;
using System.Text;

namespace Yizhan.Platform.Licences;

/// <summary>
/// What tells one machine from another: the serial numbers that its firmware gives, else the id of its installation. Only the hash
/// leaves the machine.
/// </summary>
public static class HardwareFingerprint
{
    // What makers leave in the field when they have nothing to say.
    private static readonly HashSet<string> Placeholders = new(StringComparer.OrdinalIgnoreCase)
    {
        "", "none", "default string", "to be filled by o.e.m.", "system serial number", "not specified", "0", "0123456789", "unknown",
        "03000200-0400-0500-0006-000700080009",
    };

    private static readonly string[] Sources =
    [
        "proc/device-tree/serial-number", "sys/class/dmi/id/product_uuid", "sys/class/dmi/id/board_serial", "sys/class/dmi/id/product_serial",
    ];

    /// <summary>64 hex digits.</summary>
    /// <param name="root">Root of the file system; another one for tests.</param>
    /// <exception cref="IOException">The machine says nothing about itself.</exception>
    public static string Of(string root = "/")
    {
        var found = Sources.Select(source => (source, value: Read(Path.Combine(root, source)))).Where(s => s.value is not null).ToList();

        // Firmware can be unreadable for a service, or silent; the installation's id is written once.
        var said = found.Count > 0 ? string.Join('\n', found.Select(s => $"{s.source}={s.value}"))
            : Read(Path.Combine(root, "etc/machine-id")) is { } machine ? $"machine-id={machine}"
            : throw new IOException("This machine has no serial number that can be read and no /etc/machine-id.");
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(said)));
    }

    private static string? Read(string path)
    {
        try
        {
            var text = File.Exists(path) ? File.ReadAllText(path).Trim('\0', ' ', '\n', '\r', '\t') : "";
            return Placeholders.Contains(text) || text.All(c => c is '0' or '-') || text.All(c => c is 'F' or 'f' or '-') ? null : text;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
