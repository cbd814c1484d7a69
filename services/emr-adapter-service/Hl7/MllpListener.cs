using System.Buffers;
using System.Diagnostics;
using System.IO.Pipelines;
using System.Net;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Hl7v2;
using Yizhan.Platform.Flows;
using Yizhan.Platform.Telemetry;
using Yizhan.Storage;

namespace Yizhan.EmrAdapter.Hl7;

/// <summary>
/// Takes HL7 v2 over MLLP. AA or CA leaves after what the message says is durable; messages that came together share one append. Content that cannot be taken
/// is AE (CE), another type, version or processing id and a full log are AR (CR) (HL7 v2.5.1 §2.9.2); each with the reason in ERR.
/// </summary>
internal sealed partial class MllpListener(
    Hl7Intake intake, IEventLog log, IOptions<EmrAdapterOptions> options, EmrMetrics metrics, TimeProvider clock, ILogger<MllpListener> logger) : BackgroundService
{
    private const int MaxTogether = 256;

    private readonly MllpListenerOptions _options = options.Value.Hl7;
    private readonly ILogger _logger = logger;
    private TlsListener? _listener;
    private long _answers = clock.GetUtcNow().ToUnixTimeMilliseconds() * 1000;

    /// <summary>Where it listens; null while it does not.</summary>
    public IPEndPoint? EndPoint => _listener?.EndPoint;

    /// <inheritdoc/>
    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        if (_options.Port is not null)
        {
            // Here, so that a port that somebody else has stops the start.
            _listener = new TlsListener("emr-adapter:hl7", _options, clock);
            Listening(_listener.EndPoint);
        }

        await base.StartAsync(cancellationToken);
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (_listener is not { } listener)
        {
            return;
        }

        using (listener)
        {
            await listener.RunAsync(
                async (stream, from, known, stopping) =>
                {
                    var peer = AddressOf(from);
                    Connected(peer);
                    await ReceiveAsync(stream, peer, known, stopping);
                },
                (from, why) => Closed(AddressOf(from), why),
                stoppingToken);
        }
    }

    private static string AddressOf(IPEndPoint? peer) => peer?.Address.ToString() ?? "";

    private async Task ReceiveAsync(Stream stream, string peer, Action known, CancellationToken stopping)
    {
        var pipe = PipeReader.Create(stream, new StreamPipeReaderOptions(bufferSize: 64 * 1024));
        try
        {
            long? begun = null;
            while (true)
            {
                // The time of a message counts from its first byte, however slowly it drips in.
                using var patience = CancellationTokenSource.CreateLinkedTokenSource(stopping);
                patience.CancelAfter(begun is { } since
                    ? TimeSpan.FromMilliseconds(Math.Max(1, _options.MessageTimeoutMs - clock.GetElapsedTime(since).TotalMilliseconds))
                    : TimeSpan.FromMilliseconds(_options.IdleTimeoutMs));
                ReadResult read;
                try
                {
                    read = await pipe.ReadAsync(patience.Token);
                }
                catch (OperationCanceledException) when (!stopping.IsCancellationRequested)
                {
                    Closed(peer, begun is null ? "No message came for longer than idleTimeoutMs." : $"A message had no end block after {_options.MessageTimeoutMs} ms.");
                    return;
                }

                var buffer = read.Buffer;
                var messages = new List<byte[]>();
                Hl7Exception? tooLong = null;
                try
                {
                    while (messages.Count < MaxTogether && MllpFraming.TryRead(ref buffer, _options.MaxMessageBytes, out var message))
                    {
                        messages.Add(message.ToArray());
                    }
                }
                catch (Hl7Exception e)
                {
                    tooLong = e;
                }

                if (messages.Count > 0)
                {
                    // It speaks our language, which is all that can be known without certificates.
                    known();
                    await AnswerAsync(stream, messages, peer, stopping);
                    begun = null;
                }

                if (tooLong is not null)
                {
                    await RefuseAsync(stream, buffer, tooLong, stopping);
                    Closed(peer, tooLong.Message);
                    return;
                }

                begun = buffer.IsEmpty ? null : begun ?? clock.GetTimestamp();

                // What is left may be a whole message, when there were more than are taken together.
                pipe.AdvanceTo(buffer.Start, messages.Count == MaxTogether ? buffer.Start : buffer.End);
                if (read.IsCompleted && messages.Count < MaxTogether)
                {
                    Closed(peer, buffer.IsEmpty ? "The sender has ended the connection." : "The connection ended within a message.");
                    return;
                }
            }
        }
        finally
        {
            await pipe.CompleteAsync();
        }
    }

    private async Task AnswerAsync(Stream stream, List<byte[]> frames, string peer, CancellationToken stopping)
    {
        using var span = Tracing.Source.StartActivity("MLLP", ActivityKind.Server);
        var messages = new List<(Hl7Message? Message, Hl7Exception? Error)>();
        var entries = new List<Entry>();
        foreach (var frame in frames)
        {
            Hl7Message? message = null;
            try
            {
                message = Hl7Message.Parse(frame);
                entries.AddRange(await intake.ToEntriesAsync(message, peer, stopping));
                messages.Add((message, null));
            }
            catch (Hl7Exception e)
            {
                messages.Add((message ?? Header(frame), e));
            }
        }

        Hl7Exception? failure = null;
        try
        {
            if (entries.Count > 0)
            {
                await log.AppendAsync(Tracing.Parent is { } trace ? [.. entries.Select(e => e with { TraceParent = trace })] : entries, CancellationToken.None);
            }
        }
        catch (SpoolFullException)
        {
            failure = new Hl7Exception(Hl7Error.ApplicationInternalError, "There is no room now: send the message again later.");
        }
        catch (Exception e) when (e is IOException or SqliteException)
        {
            NotStored(e);
            failure = new Hl7Exception(Hl7Error.ApplicationInternalError, "The message could not be stored: send it again later.");
        }

        var answers = new ArrayBufferWriter<byte>();
        foreach (var (message, error) in messages)
        {
            if (message is null)
            {
                // Without a header there is nobody to answer to; the connection goes on.
                metrics.Received("hl7", "none");
                NotAMessage(peer, error!.Message);
                continue;
            }

            foreach (var answer in Answers(message, error ?? failure, isOurs: error is null && failure is not null))
            {
                answers.Write(MllpFraming.Frame(answer.ToBytes()));
            }
        }

        await stream.WriteAsync(answers.WrittenMemory, stopping);
        await stream.FlushAsync(stopping);
    }

    /// <summary>One answer in original mode; in enhanced mode (MSH-15 or MSH-16 is there) what the sender asked for (table 0155).</summary>
    private IEnumerable<Hl7Message> Answers(Hl7Message message, Hl7Exception? error, bool isOurs)
    {
        var isReject = isOurs || error?.Error is Hl7Error.UnsupportedMessageType or Hl7Error.UnsupportedEventCode or Hl7Error.UnsupportedProcessingId or Hl7Error.UnsupportedVersionId;
        var (accept, application) = (message["MSH-15"], message["MSH-16"]);
        var isEnhanced = accept.Length > 0 || application.Length > 0;
        metrics.Received("hl7", error is null ? "AA" : isReject ? "AR" : "AE");
        if (error is not null)
        {
            NotTaken(message.Type, message.TriggerEvent, error.Message);
        }

        if (isEnhanced && Wanted(accept, error is null))
        {
            yield return To(message, error is null ? AcknowledgmentCode.CA : isReject ? AcknowledgmentCode.CR : AcknowledgmentCode.CE, error);
        }

        // What is in the log is done as far as the sender is concerned; in enhanced mode an error is answered at commit level unless only this level was asked for.
        if (!isEnhanced || (Wanted(application, error is null) && (error is null || !Wanted(accept, false))))
        {
            yield return To(message, error is null ? AcknowledgmentCode.AA : isReject ? AcknowledgmentCode.AR : AcknowledgmentCode.AE, error);
        }

        static bool Wanted(string condition, bool isSuccess) => condition switch { "AL" => true, "SU" => isSuccess, "ER" => !isSuccess, _ => false };
    }

    private Hl7Message To(Hl7Message message, AcknowledgmentCode code, Hl7Exception? error)
    {
        var (id, time) = ($"{Interlocked.Increment(ref _answers)}", clock.GetUtcNow());
        try
        {
            return Hl7Acknowledgment.To(message, code, id, time, error);
        }
        catch (Hl7Exception)
        {
            // Our own words are not in every character set that a message may have.
            return Hl7Acknowledgment.To(message, code, id, time);
        }
    }

    /// <summary>The header of a message that could not be read as a whole; null when that cannot be read either.</summary>
    private static Hl7Message? Header(ReadOnlySpan<byte> frame)
    {
        var end = frame.IndexOfAny((byte)'\r', (byte)'\n');
        try
        {
            var ascii = new string([.. System.Text.Encoding.Latin1.GetString(end < 0 ? frame : frame[..end]).Select(c => c is >= ' ' and < (char)0x7F ? c : '?')]);
            var header = Hl7Message.Parse(ascii.Length > 8192 ? ascii[..8192] : ascii);

            // Of the header only what the answer needs; a character set that cannot be had is not answered in.
            return header["MSH-18"].Length > 0 ? header.With("MSH-18", "") : header;
        }
        catch (Hl7Exception)
        {
            return null;
        }
    }

    private async Task RefuseAsync(Stream stream, ReadOnlySequence<byte> rest, Hl7Exception error, CancellationToken stopping)
    {
        var start = rest.Slice(0, Math.Min(rest.Length, 8192)).ToArray();
        if (start.Length > 1 && Header(start.AsSpan(1)) is { } header)
        {
            await stream.WriteAsync(MllpFraming.Frame(To(header, AcknowledgmentCode.AE, error).ToBytes()), stopping);
            await stream.FlushAsync(stopping);
        }

        metrics.Received("hl7", "AE");
    }

    [LoggerMessage(4000, LogLevel.Information, "HL7 v2 is taken over MLLP on {EndPoint}.")]
    private partial void Listening(IPEndPoint endPoint);

    [LoggerMessage(4001, LogLevel.Debug, "{Peer} has connected.")]
    private partial void Connected(string peer);

    [LoggerMessage(4002, LogLevel.Information, "The connection of {Peer} ended: {Why}")]
    private partial void Closed(string peer, string why);

    [LoggerMessage(4003, LogLevel.Warning, "A message {Type}^{Trigger} was not taken: {Reason}")]
    private partial void NotTaken(string type, string trigger, string reason);

    [LoggerMessage(4004, LogLevel.Warning, "{Peer} sent a frame that is no message: {Reason}")]
    private partial void NotAMessage(string peer, string reason);

    [LoggerMessage(4005, LogLevel.Error, "Messages could not be stored.")]
    private partial void NotStored(Exception exception);
}
