using System.Globalization;

namespace Yizhan.Drills;

/// <summary>What the backends hold after a drill.</summary>
/// <param name="Events">Events that the centre's log had when it was asked last.</param>
/// <param name="MissingInKafka">Those that a consumer of committed records does not see in the topic.</param>
/// <param name="TwiceInKafka">Records that are there once more than they should be.</param>
/// <param name="Objects">Objects in the bucket.</param>
public sealed record BackendFindings(int Events, int MissingInKafka, int TwiceInKafka, int Objects)
{
    /// <summary>Each event is in the topic once, and blobs are in the bucket.</summary>
    public bool Passed => Events > 0 && MissingInKafka == 0 && TwiceInKafka == 0 && Objects > 0;
}

/// <summary>PostgreSQL, Kafka's protocol and S3 for the centre of a drill: servers of this machine with data in folders of their own.</summary>
public sealed class ProductionBackends : IAsyncDisposable
{
    private readonly LocalPostgres _postgres;
    private readonly LocalS3 _s3;
    private readonly LocalKafka _kafka;

    private ProductionBackends(LocalPostgres postgres, LocalS3 s3, LocalKafka kafka) => (_postgres, _s3, _kafka) = (postgres, s3, kafka);

    /// <summary>What is not installed here, each with what to do; empty when all is.</summary>
    public static IReadOnlyList<string> Missing =>
    [
        .. LocalPostgres.Programs is null ? ["PostgreSQL 15 or newer: apt-get install postgresql"] : Array.Empty<string>(),
        .. LocalS3.Program is null ? ["the S3 server s3rver: apt-get install nodejs npm, then npm ci in drills/peers"] : Array.Empty<string>(),
    ];

    /// <summary>Starts all three.</summary>
    /// <exception cref="InvalidOperationException">One is not installed, or did not start; the message says what to do.</exception>
    public static async Task<ProductionBackends> StartAsync(CancellationToken cancellationToken)
    {
        if (Missing is { Count: > 0 } missing)
        {
            throw new InvalidOperationException("Not installed: " + string.Join("; ", missing));
        }

        var postgres = await LocalPostgres.StartAsync(cancellationToken);
        try
        {
            var s3 = await LocalS3.StartAsync(cancellationToken);
            try
            {
                return new ProductionBackends(postgres, s3, LocalKafka.Start());
            }
            catch
            {
                await s3.DisposeAsync();
                throw;
            }
        }
        catch
        {
            await postgres.DisposeAsync();
            throw;
        }
    }

    /// <summary>Settings of a centre that uses them; its secrets are files in a folder.</summary>
    /// <param name="folder">Where the secrets go.</param>
    public string CentreSettings(string folder)
    {
        Directory.CreateDirectory(folder);
        var (connection, credentials) = (Path.Combine(folder, "postgres.connection"), Path.Combine(folder, "s3.credentials"));
        foreach (var (path, text) in new[] { (connection, _postgres.ConnectionString), (credentials, LocalS3.Credentials) })
        {
            File.WriteAllText(path, text);
            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            }
        }

        // Small files, and none of them kept here, so that a short drill reads from the bucket.
        return string.Create(CultureInfo.InvariantCulture, $"""
            storage:
              store: postgres
              postgresConnectionFile: {connection}
              segmentBytes: 4194304
              s3Url: {_s3.Url}
              s3Bucket: {LocalS3.Bucket}
              s3CredentialsFile: {credentials}
              s3KeepLocalPercent: 0
            kafka:
              servers: {_kafka.Servers}

            """);
    }

    /// <summary>SIGKILL to PostgreSQL and all of its sessions, and a start.</summary>
    public async Task KillPostgresAsync(CancellationToken cancellationToken)
    {
        await _postgres.KillAsync();
        await _postgres.StartServerAsync(cancellationToken);
    }

    /// <summary>Objects in the bucket now.</summary>
    public int Objects => _s3.ObjectFiles().Count;

    /// <summary>Compares the topic with the events of the log; waits for what is on its way.</summary>
    public async Task<BackendFindings> CompareAsync(IReadOnlyCollection<string> events, TimeSpan patience, CancellationToken cancellationToken)
    {
        using var enough = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        enough.CancelAfter(patience);
        while (true)
        {
            var there = _kafka.ReadIdentities("yizhan.events", cancellationToken);
            var distinct = there.ToHashSet(StringComparer.Ordinal);
            var missing = events.Count(e => !distinct.Contains(e));
            if (missing == 0 || enough.IsCancellationRequested)
            {
                return new BackendFindings(events.Count, missing, there.Count - distinct.Count, Objects);
            }

            await Task.Delay(TimeSpan.FromMilliseconds(500), TimeProvider.System, cancellationToken);
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        _kafka.Dispose();
        await _s3.DisposeAsync();
        await _postgres.DisposeAsync();
    }
}
