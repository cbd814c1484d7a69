using System.Globalization;
using System.Text;

namespace Yizhan.MqttBridge;

/// <summary>Finds what a topic is mapped to, and the key of its events.</summary>
internal sealed class TopicMap(IEnumerable<TopicOptions> topics)
{
    private readonly (TopicOptions Options, string[] Levels)[] _topics = [.. topics.Select(topic => (topic, topic.Filter.Split('/')))];

    /// <summary>A level of a filter that is the client id of who publishes.</summary>
    public const string Client = "{client}";

    /// <summary>The first mapping whose filter matches and that the device may use; null when there is none.</summary>
    /// <param name="topic">The topic.</param>
    /// <param name="clientId">Who publishes.</param>
    /// <param name="isOthers">There is a mapping, and it is another device's.</param>
    public (TopicOptions Options, string Key)? Find(string topic, string clientId, out bool isOthers)
    {
        isOthers = false;
        var levels = topic.Split('/');
        foreach (var (options, filter) in _topics)
        {
            if (Match(filter, levels, clientId) is { } wild && (options.Clients.Count == 0 || options.Clients.Contains(clientId)))
            {
                return (options, Key(options.Key, topic, wild));
            }

            isOthers |= Match(filter, levels, null) is not null;
        }

        return null;
    }

    /// <summary>MQTT 5.0 §4.7.1: '+' is a level by itself, '#' as well and the last one.</summary>
    public static bool IsFilter(string filter)
    {
        var levels = filter.Split('/');
        return filter.Length is > 0 and <= 1024
            && !filter.Contains('\0', StringComparison.Ordinal)
            && levels.All(level => level is "+" or "#" or Client || level.IndexOfAny(['+', '#', '{', '}']) < 0)
            && levels.AsSpan()[..^1].IndexOf("#") < 0;
    }

    /// <summary>The levels that the wildcards stand for; null when the topic does not match.</summary>
    /// <param name="filter">Levels of the filter.</param>
    /// <param name="topic">Levels of the topic.</param>
    /// <param name="clientId">Whom <see cref="Client"/> means; null for anybody.</param>
    private static List<string>? Match(string[] filter, string[] topic, string? clientId)
    {
        // Wildcards at the start do not match topics of the broker itself (§4.7.2).
        if (topic[0].StartsWith('$') && filter[0] is "+" or "#" or Client)
        {
            return null;
        }

        var wild = new List<string>();
        for (var i = 0; i < filter.Length; i++)
        {
            if (filter[i] == "#")
            {
                // "a/#" also matches "a".
                wild.Add(string.Join('/', topic.Skip(i)));
                return wild;
            }

            if (i >= topic.Length || (filter[i] == Client ? clientId is not null && topic[i] != clientId : filter[i] != "+" && filter[i] != topic[i]))
            {
                return null;
            }

            if (filter[i] == "+")
            {
                wild.Add(topic[i]);
            }
        }

        return filter.Length == topic.Length ? wild : null;
    }

    private static string Key(string template, string topic, List<string> wild)
    {
        var key = new StringBuilder(template).Replace("{topic}", topic);
        for (var i = 0; i < wild.Count; i++)
        {
            key.Replace(string.Create(CultureInfo.InvariantCulture, $"{{{i + 1}}}"), wild[i]);
        }

        return key.ToString();
    }
}
