using Yizhan.Drills;

[assembly: AssemblyFixture(typeof(Yizhan.Storage.ProductionTests.PostgresServer))]

namespace Yizhan.Storage.ProductionTests;

/// <summary>One PostgreSQL for all tests that do not stop it; each store has a schema of its own.</summary>
public sealed class PostgresServer : IAsyncLifetime
{
    private LocalPostgres? _server;

    /// <summary>How to connect to it. Skips the test where it is not installed.</summary>
    public string ConnectionString
    {
        get
        {
            Assert.SkipWhen(_server is null, "PostgreSQL 15 is not installed: apt-get install postgresql");
            return _server.ConnectionString;
        }
    }

    public async ValueTask InitializeAsync()
    {
        if (LocalPostgres.Programs is not null)
        {
            _server = await LocalPostgres.StartAsync(CancellationToken.None);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_server is not null)
        {
            await _server.DisposeAsync();
        }
    }
}
