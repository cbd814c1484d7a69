using System.Text.Json;
using Yizhan.Platform;

namespace Yizhan.Storage;

/// <summary>
/// Which process of a service has the turn to do what must be done once, kept by the process that owns the log they share. A turn lasts for a while and is taken again before it ends; a process that is gone loses it by that.
/// With it goes what its holder left for the next one. Both are on the owner's disk: an owner that was started again gives nobody a turn that another may still believe to have.
/// </summary>
public sealed class TurnBook
{
    /// <summary>How long a turn lasts after it was taken. Its holder counts from before it asked, and only to <see cref="LogTurn.Trusted"/>.</summary>
    internal static readonly TimeSpan Lasts = TimeSpan.FromSeconds(15);

    /// <summary>Most bytes that a holder may leave.</summary>
    internal const int MaxStateBytes = 4 * 1024 * 1024;

    private readonly Lock _lock = new();
    private readonly string _file;
    private readonly IEventLog _log;
    private readonly TimeProvider _clock;
    private readonly Dictionary<string, long> _taken = [];
    private Dictionary<string, WireTurn> _turns;

    /// <summary>Reads what is in a folder. What belongs to another log, as after a restore, is not read.</summary>
    internal TurnBook(string folder, IEventLog log, TimeProvider clock)
    {
        (_file, _log, _clock) = (Path.Combine(folder, "turns.json"), log, clock);
        var read = File.Exists(_file) ? JsonSerializer.Deserialize(File.ReadAllBytes(_file), LogWireJson.Default.WireTurns) : null;
        _turns = read is not null && read.Epoch == log.Epoch ? read.Turns : [];
        foreach (var name in _turns.Keys)
        {
            _taken[name] = clock.GetTimestamp();
        }
    }

    /// <summary>Takes a turn, or keeps it; without effect while another process has it.</summary>
    /// <param name="name">Of what is done once.</param>
    /// <param name="holder">The process.</param>
    /// <param name="keeps">It has the turn already, and has read what was left. Then it is not given a turn that it lost meanwhile: it would not know what another did in between.</param>
    /// <param name="state">Of one that keeps it: what the next holder is to have; null: as it was.</param>
    internal WireTurnTaken Take(string name, Guid holder, bool keeps, byte[]? state)
    {
        if (name.Length is 0 or > 64 || state?.Length > MaxStateBytes)
        {
            throw new ArgumentException($"A turn has a name of 1 to 64 characters and at most {MaxStateBytes} bytes.");
        }

        lock (_lock)
        {
            var turn = _turns.GetValueOrDefault(name);
            if (turn?.Holder != holder && (keeps || turn is not null && _clock.GetElapsedTime(_taken[name]) < Lasts))
            {
                return new WireTurnTaken(false, turn?.State);
            }

            if (turn?.Holder != holder || keeps && state is not null)
            {
                Write(new(_turns) { [name] = new WireTurn(holder, keeps && state is not null ? state : turn?.State) });
            }

            _taken[name] = _clock.GetTimestamp();
            return new WireTurnTaken(true, keeps ? null : turn?.State);
        }
    }

    /// <summary>Gives a turn back, so that nobody has to wait until it ends.</summary>
    internal void Leave(string name, Guid holder)
    {
        lock (_lock)
        {
            if (_turns.GetValueOrDefault(name) is { } turn && turn.Holder == holder)
            {
                Write(new(_turns) { [name] = turn with { Holder = Guid.Empty } });
                _taken[name] = _clock.GetTimestamp() - (long)(Lasts.TotalSeconds * _clock.TimestampFrequency);
            }
        }
    }

    private void Write(Dictionary<string, WireTurn> turns)
    {
        AtomicFile.Write(_file, JsonSerializer.SerializeToUtf8Bytes(new WireTurns(_log.Epoch, turns), LogWireJson.Default.WireTurns), secret: false, overwrite: true);
        _turns = turns;
    }
}

/// <summary>Turns of the processes that share a log; a node with a log of its own shares it with no other of its kind, and always has them.</summary>
public interface ILogTurns
{
    /// <summary>Whether there may be another process that does the same.</summary>
    bool IsShared { get; }

    /// <summary>Takes a turn, or keeps it.</summary>
    /// <param name="name">Of what is done once.</param>
    /// <param name="holder">This process.</param>
    /// <param name="keeps">It has the turn, and has read what was left with it.</param>
    /// <param name="state">Of one that keeps it: what the next holder is to have; null: as it was.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="IOException">The owner of the log does not answer.</exception>
    ValueTask<LogTurn> TakeAsync(string name, Guid holder, bool keeps, byte[]? state, CancellationToken cancellationToken);

    /// <summary>Gives it back.</summary>
    /// <exception cref="IOException">The owner of the log does not answer.</exception>
    ValueTask LeaveAsync(string name, Guid holder, CancellationToken cancellationToken);
}

/// <summary>A turn.</summary>
/// <param name="IsMine">Whether this process has it.</param>
/// <param name="State">What the holder before left; null when nobody did, or this process keeps the turn.</param>
public readonly record struct LogTurn(bool IsMine, byte[]? State)
{
    /// <summary>How long after the question a process may believe that it has the turn: the rest is for clocks that run at different speeds.</summary>
    public static readonly TimeSpan Trusted = TurnBook.Lasts * 2 / 3;

    /// <summary>How often it is taken again.</summary>
    public static readonly TimeSpan Beat = TurnBook.Lasts / 6;
}

/// <summary>Of a node with a log of its own.</summary>
internal sealed class OwnTurns : ILogTurns
{
    public bool IsShared => false;

    public ValueTask<LogTurn> TakeAsync(string name, Guid holder, bool keeps, byte[]? state, CancellationToken cancellationToken) => new(new LogTurn(true, null));

    public ValueTask LeaveAsync(string name, Guid holder, CancellationToken cancellationToken) => ValueTask.CompletedTask;
}

/// <summary>Asked of the process that owns the log.</summary>
internal sealed class RemoteTurns(LogLine line) : ILogTurns
{
    public bool IsShared => true;

    public async ValueTask<LogTurn> TakeAsync(string name, Guid holder, bool keeps, byte[]? state, CancellationToken cancellationToken)
    {
        var body = JsonSerializer.SerializeToUtf8Bytes(new WireTurnAsked(holder, keeps, state), LogWireJson.Default.WireTurnAsked);
        var taken = await line.AskAsync(
            HttpMethod.Post, $"turns/{Uri.EscapeDataString(name)}", () => new ByteArrayContent(body) { Headers = { ContentType = new("application/json") } },
            LogLine.Json(LogWireJson.Default.WireTurnTaken), cancellationToken, LogTurn.Trusted);
        return new LogTurn(taken.IsMine, taken.State);
    }

    public async ValueTask LeaveAsync(string name, Guid holder, CancellationToken cancellationToken) =>
        await line.AskAsync(HttpMethod.Delete, $"turns/{Uri.EscapeDataString(name)}?holder={holder}", null, LogLine.Nothing, cancellationToken, LogTurn.Beat);
}
