using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Dapper;
using Microsoft.Data.Sqlite;
using Yizhan.Storage;

namespace Yizhan.Fleet;

/// <summary>A book of the centre that is made of the event log: its rows and its place in the log change in one transaction, so it can always go on, or be made again.</summary>
public abstract partial class LogBook : BackgroundService, ILogConsumer
{
    private const int MaxBatch = 256;

    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(2);

    private readonly ILogger _logger;
    private long _position;

    /// <summary>Opens the book at <paramref name="path"/>, whose tables are made by <paramref name="schema"/> as a first migration.</summary>
    /// <exception cref="SqliteException">The file cannot be opened.</exception>
    private protected LogBook(string name, string path, string schema, IEventLog log, TimeProvider clock, ILogger logger)
    {
        (Name, Log, Clock, _logger) = (name, log, clock, logger);
        Db = SqliteFile.OpenWriter(path, schema);
        Db.Execute("CREATE TABLE IF NOT EXISTS place (epoch TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT");
        _position = Db.ExecuteScalar<long?>("SELECT position FROM place WHERE epoch = @epoch", new { epoch = log.Epoch.ToString() }) ?? 0;
    }

    /// <inheritdoc/>
    public string Name { get; }

    private protected IEventLog Log { get; }

    private protected TimeProvider Clock { get; }

    /// <summary>The book; used by whoever holds <see cref="Gate"/>.</summary>
    private protected SqliteConnection Db { get; }

    private protected Lock Gate { get; } = new();

    /// <inheritdoc/>
    public ValueTask<long> ReadThroughAsync(CancellationToken cancellationToken) => new(Volatile.Read(ref _position));

    /// <inheritdoc/>
    public override void Dispose()
    {
        base.Dispose();
        lock (Gate)
        {
            Db.Dispose();
        }

        GC.SuppressFinalize(this);
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            try
            {
                if (await Log.ReadAsync(_position, MaxBatch, stoppingToken) is { Count: > 0 } page)
                {
                    Take(page, stoppingToken);
                }
                else
                {
                    await Log.WaitForMoreAsync(_position, stoppingToken);
                }
            }
            catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e) when (e is SqliteException or IOException)
            {
                Stalled(e, Name, RetryAfter.TotalSeconds);
                await Task.Delay(RetryAfter, Clock, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    /// <summary>Writes what one entry says, within a transaction; most entries are not for this book.</summary>
    /// <remarks>Whose it is says the entry's origin, which is the certificate of the link; what the body says must agree.</remarks>
    private protected abstract void Take(LoggedEntry logged);

    /// <summary>Keeps the book within its bounds, at the end of each transaction.</summary>
    private protected virtual void Trim()
    {
    }

    /// <summary>What an entry says; null when it is nonsense: a site that writes that does not stop the book of the others.</summary>
    private protected static T? Read<T>(LoggedEntry logged, JsonTypeInfo<T> type) where T : class
    {
        try
        {
            return JsonSerializer.Deserialize(logged.Entry.Data.Span, type);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private void Take(IReadOnlyList<LoggedEntry> page, CancellationToken stoppingToken)
    {
        lock (Gate)
        {
            // A book that is being closed is not written to: see Dispose.
            stoppingToken.ThrowIfCancellationRequested();
            using var transaction = Db.BeginTransaction();
            foreach (var logged in page)
            {
                Take(logged);
            }

            Trim();
            Db.Execute("INSERT INTO place VALUES (@epoch, @position) ON CONFLICT DO UPDATE SET position = excluded.position",
                new { epoch = Log.Epoch.ToString(), position = page[^1].Position });
            transaction.Commit();
            Volatile.Write(ref _position, page[^1].Position);
        }
    }

    [LoggerMessage(9051, LogLevel.Error, "The book {Name} stands still for {Seconds} s.")]
    private partial void Stalled(Exception e, string name, double seconds);
}
