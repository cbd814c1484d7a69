using System.Collections.Concurrent;
using Yizhan.Contracts;

namespace Yizhan.Station.Logs;

/// <summary>Keeps the warnings and errors of this node until they are sent: equal ones are counted, and what is more than its bound is only counted.</summary>
internal sealed class SiteLogLines(TimeProvider clock) : ILoggerProvider
{
    private readonly Lock _gate = new();
    private readonly Dictionary<(LogLevel Level, int Id, string Source, string Text), SiteLogLine> _lines = [];
    private readonly ConcurrentDictionary<string, Logger> _loggers = new(StringComparer.Ordinal);
    private int _dropped;

    /// <summary>Takes what is there, at most so many lines; the others are counted as dropped.</summary>
    public SiteLogged Take(int most)
    {
        lock (_gate)
        {
            var taken = _lines.Values.OrderBy(line => line.AtMs).TakeLast(most).ToArray();
            var dropped = _dropped + _lines.Values.Sum(line => line.Count) - taken.Sum(line => line.Count);
            _lines.Clear();
            _dropped = 0;
            return new SiteLogged(taken, dropped);
        }
    }

    /// <summary>Puts back that something was not sent.</summary>
    public void Drop(int lines)
    {
        lock (_gate)
        {
            _dropped += lines;
        }
    }

    public ILogger CreateLogger(string categoryName) => _loggers.GetOrAdd(categoryName, name => new Logger(this, name));

    public void Dispose()
    {
    }

    private void Add(LogLevel level, int id, string source, string text)
    {
        var at = clock.GetUtcNow().ToUnixTimeMilliseconds();
        lock (_gate)
        {
            var key = (level, id, source, text);
            if (_lines.TryGetValue(key, out var known))
            {
                _lines[key] = known with { AtMs = at, Count = known.Count + 1 };
            }
            else if (_lines.Count < SiteLogged.MaxLines)
            {
                _lines[key] = new SiteLogLine(at, level.ToString().ToLowerInvariant(), id, source, text, 1);
            }
            else
            {
                _dropped++;
            }
        }
    }

    private sealed class Logger(SiteLogLines lines, string source) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel is >= LogLevel.Warning and < LogLevel.None;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (!IsEnabled(logLevel))
            {
                return;
            }

            // Of an exception only the type: its own words may quote what was being worked on.
            var text = formatter(state, exception) + (exception is null ? "" : $" ({exception.GetType().Name})");
            lines.Add(logLevel, eventId.Id, source, text.Length <= SiteLogged.MaxText ? text : text[..SiteLogged.MaxText]);
        }
    }
}
