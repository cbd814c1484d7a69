using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.Tests;

public sealed class SqliteEventLogTests : EventLogContract
{
    protected override Task<StoreFixture> CreateAsync() => Task.FromResult<StoreFixture>(LocalStore.Open("sqlite"));
}

public sealed class SqliteBlobStoreTests : BlobStoreContract
{
    protected override Task<StoreFixture> CreateAsync() => Task.FromResult<StoreFixture>(LocalStore.Open("sqlite"));
}

public sealed class SqliteReceiveTests : ReceiveContract
{
    protected override Task<StoreFixture> CreateAsync() => Task.FromResult<StoreFixture>(LocalStore.Open("sqlite"));
}

public sealed class SqliteRoomTests : RoomContract
{
    protected override Task<StoreFixture> CreateAsync() => Task.FromResult<StoreFixture>(LocalStore.Open("sqlite"));
}
