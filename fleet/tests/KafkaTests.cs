using System.Text;
using Confluent.Kafka;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Yizhan.Fleet.Kafka;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Fleet.Tests;

/// <summary>The sink against librdkafka's own mock of a Kafka cluster, which knows transactions.</summary>
public sealed class KafkaTests : IAsyncLifetime
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-kafka-").FullName;
    private IProducer<byte[], byte[]> _cluster = null!;
    private string _servers = "";

    public ValueTask InitializeAsync()
    {
        // The mock lives inside a client; its brokers listen on the loopback.
        _cluster = new ProducerBuilder<byte[], byte[]>(new Dictionary<string, string> { ["bootstrap.servers"] = "mock", ["test.mock.num.brokers"] = "1" })
            .SetLogHandler((_, _) => { }).Build();
        using var admin = new DependentAdminClientBuilder(_cluster.Handle).Build();
        var broker = admin.GetMetadata(TimeSpan.FromMinutes(1)).Brokers.Single();
        _servers = $"{broker.Host}:{broker.Port}";
        return ValueTask.CompletedTask;
    }

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

    private async Task<WebApplication> StartAsync(params string[] settings)
    {
        var node = new ServiceHost([
            $"--node:dataFolder={_folder}", "--web:url=http://127.0.0.1:0", "--log:level=Error", "--fleet:linkPort=0", $"--kafka:servers={_servers}", .. settings,
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
    private static async Task SentAsync(WebApplication node)
    {
        var sink = node.Services.GetRequiredService<KafkaSink>();
        var log = node.Services.GetRequiredService<IEventLog>();
        while (sink.Position < log.LastPosition)
        {
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }

        await node.StopAsync(TestContext.Current.CancellationToken);
    }

    /// <summary>All that a consumer of committed records sees: what is expected, and then nothing more.</summary>
    private List<ConsumeResult<byte[], byte[]>> Read(string topic, int expected)
    {
        using var consumer = new ConsumerBuilder<byte[], byte[]>(new ConsumerConfig
        {
            BootstrapServers = _servers,
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
