using System.Runtime.InteropServices;
using System.Text;
using YamlDotNet.Serialization;

namespace Yizhan.Fleet.Tests;

/// <summary>librdkafka's own mock of a Kafka cluster, by its C interface: brokers on the loopback that know transactions and groups, and can be told to refuse.</summary>
internal sealed partial class MockKafka : IDisposable
{
    /// <summary>Requests of the Kafka protocol, by their number there.</summary>
    public enum Request : short
    {
        AddPartitionsToTxn = 24,
    }

    private const int ErrorBytes = 512, Producer = 0;

    // As Confluent.Kafka itself chooses: the first that this machine has the libraries for.
    private static readonly string[] Builds = ["librdkafka", "centos8-librdkafka", "alpine-librdkafka"];

    private readonly nint _client;
    private readonly nint _cluster;

    static MockKafka() => NativeLibrary.SetDllImportResolver(typeof(MockKafka).Assembly, static (name, assembly, path) =>
        name != Builds[0] ? 0 : Builds.Select(build => NativeLibrary.TryLoad(build, assembly, path, out var library) ? library : 0).FirstOrDefault(library => library != 0));

    /// <summary>Starts brokers, with the topics that <c>infra/topics.yaml</c> declares or with none.</summary>
    public MockKafka(int brokers = 1, bool withTopics = true)
    {
        var error = new byte[ErrorBytes];
        _client = rd_kafka_new(Producer, rd_kafka_conf_new(), error, ErrorBytes);
        Assert.True(_client != 0, Encoding.UTF8.GetString(error));
        _cluster = rd_kafka_mock_cluster_new(_client, brokers);
        foreach (var (name, topic) in withTopics ? Topics() : [])
        {
            Assert.Equal(0, rd_kafka_mock_topic_create(_cluster, name, topic.Partitions, brokers));
        }
    }

    /// <summary>Where the brokers listen.</summary>
    public string Servers => Marshal.PtrToStringUTF8(rd_kafka_mock_cluster_bootstraps(_cluster))!;

    /// <summary>The root of the tree that the tests were built in.</summary>
    public static string Root
    {
        get
        {
            var at = new DirectoryInfo(AppContext.BaseDirectory);
            while (at is not null && !File.Exists(Path.Combine(at.FullName, "infra", "topics.yaml")))
            {
                at = at.Parent;
            }

            return at?.FullName ?? throw new DirectoryNotFoundException("There is no infra/topics.yaml above the tests.");
        }
    }

    /// <summary>What <c>infra/topics.yaml</c> declares.</summary>
    public static Dictionary<string, Topic> Topics() => new DeserializerBuilder().Build()
        .Deserialize<Dictionary<string, Dictionary<string, Topic>>>(File.ReadAllText(Path.Combine(Root, "infra", "topics.yaml")))["topics"];

    /// <summary>The next requests of a kind are answered with these errors, one each.</summary>
    public void Refuse(Request request, params int[] errors) => rd_kafka_mock_push_request_errors_array(_cluster, (short)request, (nuint)errors.Length, errors);

    public void Dispose()
    {
        rd_kafka_mock_cluster_destroy(_cluster);
        rd_kafka_destroy(_client);
    }

    /// <summary>A topic as it is declared.</summary>
    internal sealed class Topic
    {
        [YamlMember(Alias = "what")]
        public string What { get; set; } = "";

        [YamlMember(Alias = "key")]
        public string Key { get; set; } = "";

        [YamlMember(Alias = "partitions")]
        public int Partitions { get; set; }

        [YamlMember(Alias = "config")]
        public Dictionary<string, string> Config { get; set; } = [];
    }

#pragma warning disable SA1300, IDE1006 // The names of the C interface.
    [LibraryImport("librdkafka")]
    private static partial nint rd_kafka_conf_new();

    [LibraryImport("librdkafka")]
    private static partial nint rd_kafka_new(int type, nint configuration, [Out] byte[] error, nuint errorBytes);

    [LibraryImport("librdkafka")]
    private static partial void rd_kafka_destroy(nint client);

    [LibraryImport("librdkafka")]
    private static partial nint rd_kafka_mock_cluster_new(nint client, int brokers);

    [LibraryImport("librdkafka")]
    private static partial void rd_kafka_mock_cluster_destroy(nint cluster);

    [LibraryImport("librdkafka")]
    private static partial nint rd_kafka_mock_cluster_bootstraps(nint cluster);

    [LibraryImport("librdkafka", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int rd_kafka_mock_topic_create(nint cluster, string topic, int partitions, int replicas);

    [LibraryImport("librdkafka")]
    private static partial void rd_kafka_mock_push_request_errors_array(nint cluster, short request, nuint count, int[] errors);
#pragma warning restore SA1300, IDE1006
}
