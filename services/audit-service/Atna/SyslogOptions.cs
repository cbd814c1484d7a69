using System.ComponentModel.DataAnnotations;
using Yizhan.Platform.Flows;

namespace Yizhan.Audit.Atna;

/// <summary>ATNA over TLS: what this node takes from others; 6514 is registered (RFC 5425 §4.1), and certificate, key and root are needed with a port. Part of section <c>audit</c>.</summary>
public sealed class SyslogOptions : TlsListenerOptions
{
    /// <summary>Largest message, in bytes. Default 262144.</summary>
    [Range(65_536, 524_288)]
    public int MaxMessageBytes { get; set; } = 262_144;
}

/// <summary>ATNA over TLS: where every record is sent on to. Part of section <c>audit</c>.</summary>
public sealed class ForwardOptions
{
    /// <summary>Name or address of the other repository, as in its certificate; null for none. Default null.</summary>
    public string? Host { get; set; }

    /// <summary>Its port. Default 6514.</summary>
    [Range(1, 65535)]
    public int Port { get; set; } = 6514;

    /// <summary>PEM file with the certificate that this node shows.</summary>
    public string? CertificateFile { get; set; }

    /// <summary>PEM file with its key.</summary>
    public string? KeyFile { get; set; }

    /// <summary>PEM file with the root that signs the repository's certificate.</summary>
    public string? RootFile { get; set; }

    /// <summary>Messages that are sent again after a broken connection: the protocol has no acknowledgement. Default 64.</summary>
    [Range(0, 10_000)]
    public int ResendWindow { get; set; } = 64;

    /// <summary>Longest pause between attempts, in milliseconds. Default 30000.</summary>
    [Range(10, 600_000)]
    public int MaxPauseMs { get; set; } = 30_000;
}
