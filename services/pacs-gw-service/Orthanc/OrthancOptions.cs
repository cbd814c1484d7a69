using System.ComponentModel.DataAnnotations;

namespace Yizhan.PacsGw.Orthanc;

/// <summary>An Orthanc that runs beside us. Section <c>pacs-gw:orthanc</c>.</summary>
public sealed class OrthancOptions
{
    /// <summary>Its REST address, such as <c>http://127.0.0.1:8042/</c>.</summary>
    [Required]
    public string Url { get; set; } = "";

    /// <summary>What instances from there say about who sent them, as an AE title. Default <c>ORTHANC</c>.</summary>
    [Required]
    [StringLength(16, MinimumLength = 1)]
    public string AeTitle { get; set; } = "ORTHANC";

    /// <summary>User of its REST API; null when it asks for none.</summary>
    public string? User { get; set; }

    /// <summary>File whose first line is that user's password; needed with <see cref="User"/>.</summary>
    public string? PasswordFile { get; set; }

    /// <summary>How often it is asked for changes while there are none. Default 5 s.</summary>
    [Range(1, 3600)]
    public int PollSeconds { get; set; } = 5;
}
