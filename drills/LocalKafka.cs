using System.Text;
using Confluent.Kafka;

namespace Yizhan.Drills;

/// <summary>The mock cluster of librdkafka, with transactions: Kafka's protocol on the loopback, inside this process.</summary>
internal sealed class LocalKafka : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private readonly IProducer<byte[], byte[]> _cluster;

    private LocalKafka(IProducer<byte[], byte[]> cluster, string servers) => (_cluster, Servers) = (cluster, servers);

    /// <summary>Where its brokers listen.</summary>
    public string Servers { get; }

    /// <summary>Starts three brokers.</summary>
    public static LocalKafka Start()
    {
        var cluster = new ProducerBuilder<byte[], byte[]>(new Dictionary<string, string> { ["bootstrap.servers"] = "mock", ["test.mock.num.brokers"] = "3" })
            .SetLogHandler((_, _) => { }).Build();
        using var admin = new DependentAdminClientBuilder(cluster.Handle).Build();
        foreach (var topic in new[] { "yizhan.events", "yizhan.marks" })
        {
            // The centre makes no topic; of this cluster one is made by being asked for.
            admin.GetMetadata(topic, Patience);
        }

        return new LocalKafka(cluster, string.Join(',', admin.GetMetadata(Patience).Brokers.Select(b => $"{b.Host}:{b.Port}")));
    }

    /// <summary>The identities of all events that a consumer of committed records sees, those twice that are there twice.</summary>
    public List<string> ReadIdentities(string topic, CancellationToken cancellationToken)
    {
        using var consumer = new ConsumerBuilder<byte[], byte[]>(new ConsumerConfig
        {
            BootstrapServers = Servers,
            GroupId = "drill",
            IsolationLevel = IsolationLevel.ReadCommitted,
            EnablePartitionEof = true,
            EnableAutoCommit = false,
        }).SetLogHandler((_, _) => { }).Build();
        using var admin = new DependentAdminClientBuilder(consumer.Handle).Build();
        var partitions = admin.GetMetadata(topic, Patience).Topics.Single().Partitions;
        consumer.Assign(partitions.Select(p => new TopicPartitionOffset(topic, p.PartitionId, Offset.Beginning)));
        var ids = new List<string>();
        for (var ended = new HashSet<int>(); ended.Count < partitions.Count;)
        {
            var next = consumer.Consume(cancellationToken);
            if (next.IsPartitionEOF)
            {
                ended.Add(next.Partition.Value);
                continue;
            }

            string Header(string name) => Encoding.UTF8.GetString(next.Message.Headers.GetLastBytes(name));
            ids.Add($"{Header("ce_source")}/{Header("ce_epoch")}/{Header("ce_lane")}/{Header("ce_sequence")}");
        }

        return ids;
    }

    /// <inheritdoc/>
    public void Dispose() => _cluster.Dispose();
}
