using System.Text;
using Confluent.Kafka;
using Dapper;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Yizhan.Fleet.Kafka;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Fleet.Tests;

/// <summary>The sink against librdkafka's own mock of a Kafka cluster, which knows transactions.</summary>
public sealed class KafkaTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-kafka-").FullName;
    private readonly MockKafka _cluster = new();

    private string Servers => _cluster.Servers;

    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    public ValueTask DisposeAsync()
    {
        _cluster.Dispose();
        Directory.Delete(_folder, recursive: true);
        return ValueTask.CompletedTask;
    }

    [Fact]
    [Trait("Clause", "D3.6")]
    public async Task Each_entry_is_in_the_topic_once_with_its_identity_while_the_centre_restarts()
    {
        for (var start = 0; start < 3; start++)
        {
            await using var centre = await StartAsync();
            await AppendAsync(centre, from: start * 40, count: 40);
            await SentAsync(centre);
        }

        var events = Read("yizhan.events", 120);
        Assert.Equal(Enumerable.Range(0, 120).Select(i => $"fact/{i}").Order(StringComparer.Ordinal), events.Select(e => Header(e, "ce_id")).Order(StringComparer.Ordinal));
        var first = events.Single(e => Header(e, "ce_id") == "fact/0");
        Assert.Equal(("centre/key-0", "test.fact.v1", "/sites/centre", "normal", "1"),
            (Encoding.UTF8.GetString(first.Message.Key), Header(first, "ce_type"), Header(first, "ce_source"), Header(first, "ce_lane"), Header(first, "ce_sequence")));
        Assert.Equal("""{"n":0}""", Encoding.UTF8.GetString(first.Message.Value));
    }

    [Fact]
    public async Task What_was_appended_while_nothing_was_sent_is_sent_from_the_mark_on()
    {
        await using (var centre = await StartAsync())
        {
            await AppendAsync(centre, from: 0, count: 10);
            await SentAsync(centre);
        }

        await using (var silent = await StartAsync("--kafka:servers="))
        {
            await AppendAsync(silent, from: 10, count: 10);
        }

        await using (var centre = await StartAsync("--kafka:maxEvents=3"))
        {
            await SentAsync(centre);
        }

        Assert.Equal(20, Read("yizhan.events", 20).Select(e => Header(e, "ce_id")).Distinct().Count());
    }

    [Fact]
    public async Task Events_of_one_key_keep_their_order()
    {
        await using var centre = await StartAsync("--kafka:maxEvents=7");
        await AppendAsync(centre, from: 0, count: 100);
        await SentAsync(centre);

        foreach (var key in Read("yizhan.events", 100).GroupBy(e => Encoding.UTF8.GetString(e.Message.Key)))
        {
            var sequences = key.OrderBy(e => e.Partition.Value).ThenBy(e => e.Offset.Value).Select(e => long.Parse(Header(e, "ce_sequence"), System.Globalization.CultureInfo.InvariantCulture)).ToArray();
            Assert.Equal(sequences.Order(), sequences);
        }
    }

    /// <summary>
    /// The broker refuses the transaction before anything of it is written: the mock cluster shows consumers what an aborted transaction wrote, which a real one does not.
    /// </summary>
    [Theory]
    [Trait("Clause", "D3.6")]
    [InlineData(90)] // PRODUCER_FENCED
    [InlineData(47)] // INVALID_PRODUCER_EPOCH
    public async Task A_producer_that_is_fenced_off_says_so_stays_away_and_then_goes_on_without_loss_or_double(int error)
    {
        await using var centre = await StartAsync("--kafka:fencedPauseSeconds=1");
        await AppendAsync(centre, from: 0, count: 5);
        await SentAsync(centre, stop: false);
        _cluster.Refuse(MockKafka.Request.AddPartitionsToTxn, error);
        await AppendAsync(centre, from: 5, count: 5);
        var health = await UntilAsync(centre, h => h.Status == HealthStatus.Degraded);
        Assert.Contains("Another producer has taken over the transactional id 'yizhan-centre'", health.Description, StringComparison.Ordinal);
        Assert.Contains("kafka:transactionalId", health.Description, StringComparison.Ordinal);
        await SentAsync(centre, stop: false);
        await UntilAsync(centre, h => h.Status == HealthStatus.Healthy);
        await centre.StopAsync(TestContext.Current.CancellationToken);
        Assert.Equal(
            Enumerable.Range(0, 10).Select(i => $"fact/{i}").Order(StringComparer.Ordinal), Read("yizhan.events", 10).Select(e => Header(e, "ce_id")).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task A_topic_that_is_not_there_is_named_and_not_made()
    {
        using var empty = new MockKafka(withTopics: false);
        await using var centre = await StartAsync($"--kafka:servers={empty.Servers}");
        await AppendAsync(centre, from: 0, count: 1);
        var health = await UntilAsync(centre, h => h.Status == HealthStatus.Degraded);
        Assert.Contains("There is no topic 'yizhan.marks': make it as infra/topics.yaml declares it", health.Description, StringComparison.Ordinal);
        Assert.Equal(0, centre.Services.GetRequiredService<KafkaSink>().Position);
    }

    [Fact]
    [Trait("Clause", "D3.5")]
    public void Compose_and_Kubernetes_make_the_topics_that_the_centre_and_these_tests_use()
    {
        var topics = MockKafka.Topics();
        var options = new KafkaOptions();
        Assert.Equal(new[] { options.Topic, options.MarkTopic }.Order(StringComparer.Ordinal), topics.Keys.Order(StringComparer.Ordinal));
        Assert.Equal("compact", topics[options.MarkTopic].Config["cleanup.policy"]);
        Assert.Equal("delete", topics[options.Topic].Config["cleanup.policy"]);

        // A record has an event's data and its headers.
        Assert.InRange(int.Parse(topics[options.Topic].Config["max.message.bytes"], System.Globalization.CultureInfo.InvariantCulture), 2 * Entry.MaxDataBytes, int.MaxValue);
        var compose = File.ReadAllText(Path.Combine(MockKafka.Root, "infra", "docker", "topics.sh"));
        var kubernetes = File.ReadAllText(Path.Combine(MockKafka.Root, "infra", "k8s", "base", "topics.yaml"));
        foreach (var (name, topic) in topics)
        {
            foreach (var line in new[]
            {
                $"rpk topic create {name} --partitions {topic.Partitions} --replicas -1 ",
                $"rpk topic alter-config {name} {string.Join(' ', topic.Config.Select(c => $"--set {c.Key}={c.Value}"))}\n",
            })
            {
                Assert.Contains(line, compose, StringComparison.Ordinal);
                Assert.Contains(string.Join("", line.Split(default(char[]), StringSplitOptions.RemoveEmptyEntries)), string.Join("", kubernetes.Split([' ', '\n', '\\'])), StringComparison.Ordinal);
            }
        }

        using var consumer = new ConsumerBuilder<byte[], byte[]>(new ConsumerConfig { BootstrapServers = Servers, GroupId = "test" }).SetLogHandler((_, _) => { }).Build();
        using var admin = new DependentAdminClientBuilder(consumer.Handle).Build();
        var made = admin.GetMetadata(TimeSpan.FromMinutes(1)).Topics.ToDictionary(t => t.Topic, t => t.Partitions.Count);
        Assert.Equal(topics.ToDictionary(t => t.Key, t => t.Value.Partitions), made);
    }

    /// <summary>
    /// What docs/operations/production.md asks of a consumer: effect and identity of an event in one transaction, the offset after that. Members come and one dies without
    /// a word, so events are handed out twice; the second time changes nothing.
    /// </summary>
    [Fact]
    [Trait("Clause", "D3.5")]
    public async Task Members_that_come_and_die_in_the_middle_lose_and_double_no_effect()
    {
        const int events = 600;
        await using (var centre = await StartAsync())
        {
            await AppendAsync(centre, from: 0, count: events);
            await SentAsync(centre);
        }

        using var effects = new Effects();
        using (var dies = Member())
        {
            // It takes part of what is there, and its offsets are never committed.
            while (effects.Count < 150)
            {
                effects.Apply(dies.Consume(TestContext.Current.CancellationToken));
            }

            using var comes = Member();
            while (comes.Assignment.Count == 0)
            {
                // Both have to poll, or neither gets its share.
                TakeOne(comes, effects, commit: true);
                TakeOne(dies, effects, commit: false);
            }

            Assert.InRange(comes.Assignment.Count, 1, MockKafka.Topics()["yizhan.events"].Partitions - 1);
            while (effects.Count < 400 && TakeOne(comes, effects, commit: true))
            {
                TakeOne(dies, effects, commit: false);
            }
        }

        // Nothing is left of both but what was committed.
        using var last = Member();
        while (effects.Count < events)
        {
            TakeOne(last, effects, commit: true);
        }

        Assert.True(effects.Deliveries > events, "Nothing was handed out twice: this proves nothing.");
        Assert.Equal(events, effects.Sum);
        Assert.Equal(events, effects.Count);
    }

    private IConsumer<byte[], byte[]> Member()
    {
        var member = new ConsumerBuilder<byte[], byte[]>(new ConsumerConfig
        {
            BootstrapServers = Servers,
            GroupId = "stock",
            IsolationLevel = IsolationLevel.ReadCommitted,
            AutoOffsetReset = AutoOffsetReset.Earliest,
            EnableAutoCommit = false,
            SessionTimeoutMs = 15_000,
            HeartbeatIntervalMs = 200,
            PartitionAssignmentStrategy = PartitionAssignmentStrategy.RoundRobin,
        }).SetLogHandler((_, _) => { }).Build();
        member.Subscribe("yizhan.events");
        return member;
    }

    private static bool TakeOne(IConsumer<byte[], byte[]> member, Effects effects, bool commit)
    {
        if (member.Consume(TimeSpan.FromMilliseconds(50)) is not { } read)
        {
            return false;
        }

        effects.Apply(read);
        if (commit)
        {
            try
            {
                member.Commit(read);
            }
            catch (KafkaException)
            {
                // The partition is another member's by now, which reads it again.
            }
        }

        return true;
    }

    /// <summary>A consumer's own database: a number that grows by one with each event.</summary>
    private sealed class Effects : IDisposable
    {
        private readonly Microsoft.Data.Sqlite.SqliteConnection _db = new("Data Source=:memory:");

        public Effects()
        {
            _db.Open();
            _db.Execute("CREATE TABLE done (identity TEXT PRIMARY KEY) STRICT; CREATE TABLE stock (item TEXT PRIMARY KEY, quantity INTEGER NOT NULL) STRICT;");
        }

        public int Deliveries { get; private set; }

        public long Count => _db.ExecuteScalar<long>("SELECT count(*) FROM done");

        public long Sum => _db.ExecuteScalar<long>("SELECT sum(quantity) FROM stock");

        public void Apply(ConsumeResult<byte[], byte[]> read)
        {
            Deliveries++;
            using var transaction = _db.BeginTransaction();
            var identity = $"{Header(read, "ce_source")}/{Header(read, "ce_epoch")}/{Header(read, "ce_lane")}/{Header(read, "ce_sequence")}";
            if (_db.Execute("INSERT INTO done VALUES (@identity) ON CONFLICT DO NOTHING", new { identity }, transaction) == 1)
            {
                _db.Execute("INSERT INTO stock VALUES (@item, 1) ON CONFLICT DO UPDATE SET quantity = quantity + 1", new { item = Header(read, "ce_partitionkey") }, transaction);
            }

            transaction.Commit();
        }

        public void Dispose() => _db.Dispose();
    }

    private static async Task<HealthReportEntry> UntilAsync(WebApplication node, Func<HealthReportEntry, bool> wanted)
    {
        var health = node.Services.GetRequiredService<HealthCheckService>();
        for (var from = TimeProvider.System.GetTimestamp(); ;)
        {
            Assert.True(TimeProvider.System.GetElapsedTime(from) < TimeSpan.FromMinutes(3), "The health check 'kafka' does not become what is wanted.");
            var report = await health.CheckHealthAsync(r => r.Name == "kafka", TestContext.Current.CancellationToken);
            if (wanted(report.Entries["kafka"]))
            {
                return report.Entries["kafka"];
            }

            await Task.Delay(20, TestContext.Current.CancellationToken);
        }
    }

    private async Task<WebApplication> StartAsync(params string[] settings)
    {
        var node = new ServiceHost([
            $"--node:dataFolder={_folder}", "--web:url=http://127.0.0.1:0", "--log:level=Error", "--fleet:linkPort=0", $"--kafka:servers={Servers}", .. settings,
        ]).Add<FleetModule>().Build();
        await node.StartAsync(TestContext.Current.CancellationToken);
        return node;
    }

    private static async Task AppendAsync(WebApplication node, int from, int count)
    {
        var log = node.Services.GetRequiredService<IEventLog>();
        for (var i = from; i < from + count; i++)
        {
            await log.AppendAsync(
                [new Entry(Lane.Normal, "test.fact.v1", $"fact/{i}", $"key-{i % 4}", i, Encoding.UTF8.GetBytes($$"""{"n":{{i}}}"""))], TestContext.Current.CancellationToken);
        }
    }

    /// <summary>Returns when the sink has sent all that the log has.</summary>
    private static async Task SentAsync(WebApplication node, bool stop = true)
    {
        var sink = node.Services.GetRequiredService<KafkaSink>();
        var log = node.Services.GetRequiredService<IEventLog>();
        while (sink.Position < log.LastPosition)
        {
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }

        if (stop)
        {
            await node.StopAsync(TestContext.Current.CancellationToken);
        }
    }

    /// <summary>All that a consumer of committed records sees: what is expected, and then nothing more.</summary>
    private List<ConsumeResult<byte[], byte[]>> Read(string topic, int expected)
    {
        using var consumer = new ConsumerBuilder<byte[], byte[]>(new ConsumerConfig
        {
            BootstrapServers = Servers,
            GroupId = "test",
            IsolationLevel = IsolationLevel.ReadCommitted,
            EnablePartitionEof = true,
            EnableAutoCommit = false,
        }).SetLogHandler((_, _) => { }).Build();
        using var admin = new DependentAdminClientBuilder(consumer.Handle).Build();
        var partitions = admin.GetMetadata(topic, TimeSpan.FromMinutes(1)).Topics.Single().Partitions;
        consumer.Assign(partitions.Select(p => new TopicPartitionOffset(topic, p.PartitionId, Offset.Beginning)));
        var read = new List<ConsumeResult<byte[], byte[]>>();
        for (var ended = new HashSet<int>(); ended.Count < partitions.Count;)
        {
            var next = consumer.Consume(TestContext.Current.CancellationToken);
            if (next.IsPartitionEOF)
            {
                ended.Add(next.Partition.Value);
            }
            else
            {
                read.Add(next);
            }
        }

        Assert.Equal(expected, read.Count);
        return read;
    }

    private static string Header(ConsumeResult<byte[], byte[]> record, string name) =>
        Encoding.UTF8.GetString(record.Message.Headers.GetLastBytes(name));
}
