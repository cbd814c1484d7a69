using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;

namespace Yizhan.Fleet.Kafka;

/// <summary>Where the centre's events go besides its own log. Section <c>kafka</c>. Without servers the log is all there is.</summary>
public sealed class KafkaOptions
{
    /// <summary>Kafka or Redpanda: <c>host:port</c>, several with commas. Empty: nothing is sent.</summary>
    public string Servers { get; set; } = "";

    /// <summary>Topic of the events. Default <c>yizhan.events</c>, which <c>infra/topics.yaml</c> declares; it is never made by us. The key is site and event key, so that what belongs together stays in order.</summary>
    [Required]
    [RegularExpression("[a-zA-Z0-9._-]{1,200}", ErrorMessage = "kafka:topic must be 1 to 200 characters of a-z, A-Z, 0-9, '.', '_' and '-'.")]
    public string Topic { get; set; } = "yizhan.events";

    /// <summary>Compacted topic with one record: how far the log was sent. Default <c>yizhan.marks</c>.</summary>
    [Required]
    [RegularExpression("[a-zA-Z0-9._-]{1,200}", ErrorMessage = "kafka:markTopic must be 1 to 200 characters of a-z, A-Z, 0-9, '.', '_' and '-'.")]
    public string MarkTopic { get; set; } = "yizhan.marks";

    /// <summary>Transactional id. One centre has one: a second process with the same id fences the first off. Default <c>yizhan-centre</c>.</summary>
    [Required]
    public string TransactionalId { get; set; } = "yizhan-centre";

    /// <summary>
    /// How long nothing is sent after another producer with our transactional id fenced us off, in seconds. Default 60: two centres that were given one id by mistake
    /// take turns and say so, instead of fencing each other off all the time.
    /// </summary>
    [Range(1, 3600)]
    public int FencedPauseSeconds { get; set; } = 60;

    /// <summary>Most events in one transaction. Default 500.</summary>
    [Range(1, 10_000)]
    public int MaxEvents { get; set; } = 500;

    /// <summary>PEM file with the certificate authority of the servers; with it the connection is TLS.</summary>
    public string? RootPath { get; set; }

    /// <summary>PEM file with our certificate, where the servers ask for one.</summary>
    public string? CertificatePath { get; set; }

    /// <summary>PEM file with its private key.</summary>
    public string? KeyPath { get; set; }
}

[OptionsValidator]
internal sealed partial class KafkaOptionsValidator : IValidateOptions<KafkaOptions>;
