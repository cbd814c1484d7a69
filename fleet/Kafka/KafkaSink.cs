using System.Globalization;
using System.Text;
using Confluent.Kafka;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Options;
using Yizhan.Storage;

namespace Yizhan.Fleet.Kafka;

/// <summary>
/// Sends the centre's log on to Kafka: each page of entries and the mark up to which it goes are one transaction, so a restart goes on exactly behind what
/// consumers (<c>isolation.level=read_committed</c>) have seen. The mark lives in Kafka alone; there is no second copy that could disagree.
/// </summary>
internal sealed partial class KafkaSink(IEventLog log, IOptions<KafkaOptions> options, TimeProvider clock, ILogger<KafkaSink> logger)
    : BackgroundService, IHealthCheck
{
    private static readonly TimeSpan KafkaPatience = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);

    private readonly KafkaOptions _options = options.Value;
    private readonly ILogger _logger = logger;
    private long _position;
    private volatile string? _problem;
    private volatile bool _fenced;

    /// <summary>Position in the log up to which Kafka has it.</summary>
    public long Position => Interlocked.Read(ref _position);

    /// <inheritdoc/>
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) =>
        Task.FromResult(_problem is { } problem ? HealthCheckResult.Degraded(problem) : HealthCheckResult.Healthy());

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (_options.Servers.Length == 0)
        {
            return;
        }

        await Task.Yield();
        while (!stoppingToken.IsCancellationRequested)
        {
            var pause = Pause;
            _fenced = false;
            try
            {
                await SendAllAsync(stoppingToken);
            }
            catch (KafkaException e) when (_fenced || IsFenced(e.Error.Code))
            {
                // Who fenced us off may be our successor, which stays, or another centre with our id, which would be fenced off by us at once: neither is served by haste.
                pause = TimeSpan.FromSeconds(_options.FencedPauseSeconds);
                _problem = $"Another producer has taken over the transactional id '{_options.TransactionalId}' at Kafka. Nothing is sent for {_options.FencedPauseSeconds} s. "
                    + "If no second process of this centre runs, another centre has the same kafka:transactionalId: give each one of its own.";
                Fenced(_options.TransactionalId, _options.FencedPauseSeconds);
            }
            catch (KafkaException e)
            {
                // A new producer reads the mark again: whatever became of the last transaction, it is known then.
                _problem = $"Kafka does not take events: {e.Error.Reason}";
                Away(e.Error.Reason);
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }

            await Task.Delay(pause, clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private static bool IsFenced(ErrorCode code) => code is ErrorCode.Local_Fenced or ErrorCode.ProducerFenced or ErrorCode.InvalidProducerEpoch;

    private async Task SendAllAsync(CancellationToken cancellationToken)
    {
        using var producer = new ProducerBuilder<byte[], byte[]>(new ProducerConfig(Client())
        {
            TransactionalId = _options.TransactionalId,
            EnableIdempotence = true,
            Acks = Acks.All,
            LingerMs = 0,
            MessageMaxBytes = 2 * Entry.MaxDataBytes,
        }).SetLogHandler((_, _) => { }).SetErrorHandler((_, e) => _fenced |= IsFenced(e.Code)).Build();

        // It ends or aborts what an earlier process began and fences that process off, so the mark is final when it is read.
        producer.InitTransactions(KafkaPatience);
        var position = ReadMark();
        Interlocked.Exchange(ref _position, position);
        _problem = null;
        Began(position);
        while (true)
        {
            await log.WaitForMoreAsync(position, cancellationToken);
            var page = await log.ReadAsync(position, _options.MaxEvents, cancellationToken);
            if (page.Count == 0)
            {
                // What was there has been released.
                position = log.LastPosition;
                continue;
            }

            producer.BeginTransaction();
            try
            {
                foreach (var entry in page)
                {
                    producer.Produce(_options.Topic, Message(entry));
                }

                producer.Produce(_options.MarkTopic, new Message<byte[], byte[]>
                {
                    Key = MarkKey(),
                    Value = Encoding.ASCII.GetBytes(page[^1].Position.ToString(CultureInfo.InvariantCulture)),
                });
                producer.CommitTransaction(KafkaPatience);
            }
            catch (KafkaTxnRequiresAbortException)
            {
                producer.AbortTransaction(KafkaPatience);
                throw;
            }

            position = page[^1].Position;
            Interlocked.Exchange(ref _position, position);
        }
    }

    /// <summary>The last mark of this log; 0 when there is none. Positions of a log that was restored mean something else, so the key has its epoch.</summary>
    private long ReadMark()
    {
        using var consumer = new ConsumerBuilder<byte[], byte[]>(new ConsumerConfig(Client())
        {
            GroupId = _options.TransactionalId,
            IsolationLevel = IsolationLevel.ReadCommitted,
            EnableAutoCommit = false,
            EnablePartitionEof = true,
            AutoOffsetReset = AutoOffsetReset.Earliest,
        }).SetLogHandler((_, _) => { }).Build();
        using var admin = new DependentAdminClientBuilder(consumer.Handle).Build();

        // Neither is made here: a mark topic that is not compacted forgets the mark, and everything would be sent again.
        var topic = Existing(admin, _options.MarkTopic);
        _ = Existing(admin, _options.Topic);
        var partitions = topic.Partitions.Select(p => new TopicPartitionOffset(_options.MarkTopic, p.PartitionId, Offset.Beginning)).ToArray();
        consumer.Assign(partitions);
        var (mark, left, key) = (0L, partitions.Length, MarkKey());
        while (left > 0)
        {
            var read = consumer.Consume(KafkaPatience) ?? throw new KafkaException(new Error(ErrorCode.Local_TimedOut, "The marks could not be read."));
            if (read.IsPartitionEOF)
            {
                left--;
            }
            else if (key.AsSpan().SequenceEqual(read.Message.Key))
            {
                mark = Math.Max(mark, long.Parse(Encoding.ASCII.GetString(read.Message.Value), CultureInfo.InvariantCulture));
            }
        }

        return mark;
    }

    private static TopicMetadata Existing(IAdminClient admin, string name)
    {
        var topic = admin.GetMetadata(name, KafkaPatience).Topics.Single(t => t.Topic == name);
        return topic.Error.IsError || topic.Partitions.Count == 0
            ? throw new KafkaException(new Error(ErrorCode.UnknownTopicOrPart, $"There is no topic '{name}': make it as infra/topics.yaml declares it. {topic.Error.Reason}"))
            : topic;
    }

    private ClientConfig Client() => new()
    {
        BootstrapServers = _options.Servers,
        SecurityProtocol = _options.RootPath is null ? SecurityProtocol.Plaintext : SecurityProtocol.Ssl,
        SslCaLocation = _options.RootPath,
        SslCertificateLocation = _options.CertificatePath,
        SslKeyLocation = _options.KeyPath,
        AllowAutoCreateTopics = false,
    };

    private byte[] MarkKey() => Encoding.UTF8.GetBytes($"{log.Site}/{log.Epoch}");

    /// <summary>CloudEvents in Kafka's binary mode: the data is the value, the attributes are headers <c>ce_*</c> (Kafka protocol binding §3.2).</summary>
    private static Message<byte[], byte[]> Message(LoggedEntry logged)
    {
        var (identity, entry) = (logged.Identity, logged.Entry);
        var headers = new Headers();
        void Add(string name, string value) => headers.Add(name, Encoding.UTF8.GetBytes(value));
        Add("content-type", "application/json");
        Add("ce_specversion", "1.0");
        Add("ce_id", entry.Id);
        Add("ce_source", $"/sites/{identity.Site}");
        Add("ce_type", entry.Type);
        Add("ce_time", DateTimeOffset.FromUnixTimeMilliseconds(entry.TimeMs).ToString("O", CultureInfo.InvariantCulture));
        Add("ce_partitionkey", entry.Key);
        Add("ce_epoch", identity.Epoch.ToString());
        Add("ce_lane", identity.Lane.ToString().ToLowerInvariant());
        Add("ce_sequence", identity.Sequence.ToString(CultureInfo.InvariantCulture));
        if (entry.TraceParent is not null)
        {
            Add("ce_traceparent", entry.TraceParent);
        }

        return new Message<byte[], byte[]>
        {
            Key = Encoding.UTF8.GetBytes($"{identity.Site}/{entry.Key}"),
            Value = entry.Data.ToArray(),
            Headers = headers,
        };
    }

    [LoggerMessage(9101, LogLevel.Information, "Events are sent to Kafka, from position {Position} of the log on.")]
    private partial void Began(long position);

    [LoggerMessage(9103, LogLevel.Error, "Another producer has taken over the transactional id '{TransactionalId}' at Kafka; nothing is sent for {Seconds} s. Does another centre have the same one?")]
    private partial void Fenced(string transactionalId, int seconds);

    [LoggerMessage(9102, LogLevel.Warning, "Kafka is away: {Reason}")]
    private partial void Away(string reason);
}
