using System.Globalization;
using System.Text;

namespace Yizhan.MqttBridge;

/// <summary>Finds what a topic is mapped to, and the key of its events.</summary>
internal sealed class TopicMap(IEnumerable<TopicOptions> topics)
{
    private readonly (TopicOptions Options, string[] Levels)[] _topics = [.. topics.Select(topic => (topic, topic.Filter.Split('/')))];

    /// <summary>The first mapping whose filter matches; null when none does.</summary>
    public (TopicOptions Options, string Key)? Find(string topic)
    {
        var levels = topic.Split('/');
        foreach (var (options, filter) in _topics)
        {
            if (Match(filter, levels) is { } wild)
            {
                return (options, Key(options.Key, topic, wild));
            }
        }

        return null;
    }

    /// <summary>MQTT 5.0 §4.7.1: '+' is a level by itself, '#' as well and the last one.</summary>
    public static bool IsFilter(string filter)
    {
        var levels = filter.Split('/');
        return filter.Length is > 0 and <= 1024
            && !filter.Contains('\0', StringComparison.Ordinal)
            && levels.All(level => level is "+" or "#" || !level.AsSpan().ContainsAny('+', '#'))
            && levels.AsSpan()[..^1].IndexOf("#") < 0;
    }

    /// <summary>The levels that the wildcards stand for; null when the topic does not match.</summary>
    private static List<string>? Match(string[] filter, string[] topic)
    {
        // Wildcards at the start do not match topics of the broker itself (§4.7.2).
        if (topic[0].StartsWith('$') && filter[0] is "+" or "#")
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

            if (i >= topic.Length || (filter[i] != "+" && filter[i] != topic[i]))
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
