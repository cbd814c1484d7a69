using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.ProductionTests;

[Trait("Clause", "D3.5")]
public sealed class PostgresEventLogTests(PostgresServer server) : EventLogContract
{
    protected override Task<StoreFixture> CreateAsync() => Task.FromResult<StoreFixture>(PostgresStore.Open(server.ConnectionString));
}

[Trait("Clause", "D3.5")]
public sealed class PostgresBlobStoreTests(PostgresServer server) : BlobStoreContract
{
    protected override Task<StoreFixture> CreateAsync() => Task.FromResult<StoreFixture>(PostgresStore.Open(server.ConnectionString));
}

[Trait("Clause", "D3.5")]
public sealed class PostgresReceiveTests(PostgresServer server) : ReceiveContract
{
    protected override Task<StoreFixture> CreateAsync() => Task.FromResult<StoreFixture>(PostgresStore.Open(server.ConnectionString));
}

[Trait("Clause", "D3.5")]
public sealed class PostgresRoomTests(PostgresServer server) : RoomContract
{
    protected override Task<StoreFixture> CreateAsync() => Task.FromResult<StoreFixture>(PostgresStore.Open(server.ConnectionString));
}
