using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Yizhan.Platform.Certificates;

/// <summary>One revocation: a certificate by its serial number, or all of a site that began before a moment (a lost device).</summary>
/// <param name="Number">1, 2, 3, … without holes.</param>
/// <param name="Serial">Serial number in hex, upper case; null when a site is meant.</param>
/// <param name="Site">The site; null when one certificate is meant.</param>
/// <param name="BeforeMs">With a site: certificates that began before this, Unix milliseconds.</param>
/// <param name="Reason">Why, for people.</param>
/// <param name="AtMs">When it was said.</param>
public sealed record Revocation(long Number, string? Serial, string? Site, long BeforeMs, string Reason, long AtMs);

/// <summary>
/// What does not count any more, as a file of signed statements with one line for each number. Who has n lines asks for those after
/// n: a delta. A line counts only when the root signed it and it is the very next; nothing can be taken back or left out.
/// </summary>
public sealed class Revocations
{
    /// <summary>Most statements that are kept; a root that revoked more is due for a successor.</summary>
    public const int Most = 10_000;

    /// <summary>Most statements of one delta.</summary>
    public const int MostAtOnce = 256;

    private const string Type = "yizhan-revocation+jws";

    private readonly Lock _gate = new();
    private readonly string _path;
    private readonly X509Certificate2 _root;
    private readonly List<string> _lines = [];
    private readonly HashSet<string> _serials = new(StringComparer.OrdinalIgnoreCase);
    private readonly Dictionary<string, long> _sites = new(StringComparer.Ordinal);
    private readonly List<Revocation> _all = [];

    private Revocations(string path, X509Certificate2 root) => (_path, _root) = (path, root);

    /// <summary>Number of the newest statement; 0 when there is none.</summary>
    public long Number
    {
        get
        {
            lock (_gate)
            {
                return _lines.Count;
            }
        }
    }

    /// <summary>All of them, the oldest first.</summary>
    public IReadOnlyList<Revocation> All
    {
        get
        {
            lock (_gate)
            {
                return [.. _all];
            }
        }
    }

    /// <summary>Reads the file; none is an empty one.</summary>
    /// <exception cref="InvalidDataException">A line is not the root's, or not the next: the file was altered.</exception>
    public static Revocations Open(string path, X509Certificate2 root)
    {
        var revocations = new Revocations(path, root);
        if (File.Exists(path))
        {
            foreach (var line in File.ReadLines(path).Where(line => line.Length > 0))
            {
                revocations.Take_NeedsLock(line);
            }
        }

        return revocations;
    }

    /// <summary>Whether a certificate that was checked already is revoked.</summary>
    public bool Has(X509Certificate2 certificate) => Has(CertificateHolder.Of(certificate));

    /// <inheritdoc cref="Has(X509Certificate2)"/>
    public bool Has(CertificateHolder holder)
    {
        lock (_gate)
        {
            return _serials.Contains(holder.SerialNumber) || (holder.Site is { } site && _sites.TryGetValue(site.SiteId, out var before) && holder.NotBeforeMs < before);
        }
    }

    /// <summary>The statements after a number, at most <see cref="MostAtOnce"/>.</summary>
    public IReadOnlyList<string> After(long number)
    {
        lock (_gate)
        {
            return number >= 0 && number < _lines.Count ? _lines.GetRange((int)number, Math.Min(MostAtOnce, _lines.Count - (int)number)) : [];
        }
    }

    /// <summary>Takes a delta, durably; what is known already is passed over.</summary>
    /// <returns>How many statements were new.</returns>
    /// <exception cref="InvalidDataException">A statement is not the root's, or numbers are missing before it; those before it are kept.</exception>
    public int Apply(IEnumerable<string> delta)
    {
        lock (_gate)
        {
            var before = _lines.Count;
            try
            {
                foreach (var line in delta.Take(MostAtOnce))
                {
                    Take_NeedsLock(line);
                }
            }
            finally
            {
                if (_lines.Count > before)
                {
                    Write_NeedsLock();
                }
            }

            return _lines.Count - before;
        }
    }

    /// <summary>Adds a statement; only the authority can.</summary>
    internal Revocation Add(ECDsa rootKey, Func<long, Revocation> make)
    {
        lock (_gate)
        {
            var revocation = make(_lines.Count + 1);
            Take_NeedsLock(CompactJws.Sign(rootKey, Type, JsonSerializer.SerializeToUtf8Bytes(revocation, RevocationJson.Default.Revocation)));
            Write_NeedsLock();
            return revocation;
        }
    }

    private void Take_NeedsLock(string line)
    {
        using var key = _root.GetECDsaPublicKey() ?? throw new InvalidDataException("The root has no ECDSA key.");
        var revocation = CompactJws.Verify(key, Type, line) is { } payload
            ? JsonSerializer.Deserialize(payload, RevocationJson.Default.Revocation)!
            : throw new InvalidDataException($"Revocation {_lines.Count + 1} is not signed by the root of this installation.");
        if (revocation.Number <= _lines.Count)
        {
            return;
        }

        if (revocation.Number != _lines.Count + 1 || _lines.Count >= Most)
        {
            throw new InvalidDataException($"Revocation {revocation.Number} came; the next is {_lines.Count + 1} of at most {Most}.");
        }

        _lines.Add(line);
        _all.Add(revocation);
        if (revocation.Serial is { } serial)
        {
            _serials.Add(serial);
        }

        if (revocation.Site is { } site)
        {
            _sites[site] = Math.Max(revocation.BeforeMs, _sites.GetValueOrDefault(site));
        }
    }

    private void Write_NeedsLock() =>
        AtomicFile.Write(_path, Encoding.ASCII.GetBytes(string.Join('\n', _lines) + "\n"), secret: false, overwrite: true);
}

[JsonSourceGenerationOptions(JsonSerializerDefaults.Web, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(Revocation))]
internal sealed partial class RevocationJson : JsonSerializerContext;

/// <summary>What a certificate says, for who asks more than once about it: reading it takes longer than looking it up.</summary>
/// <param name="Site">The site that it names; null when it names none.</param>
/// <param name="SerialNumber">As the certificate has it.</param>
/// <param name="NotBeforeMs">Unix milliseconds UTC.</param>
public sealed record CertificateHolder(SitePrincipal? Site, string SerialNumber, long NotBeforeMs)
{
    /// <summary>Reads a certificate that was checked already.</summary>
    public static CertificateHolder Of(X509Certificate2 certificate) =>
        new(SitePrincipal.From(certificate), certificate.SerialNumber, new DateTimeOffset(certificate.NotBefore.ToUniversalTime()).ToUnixTimeMilliseconds());
}
