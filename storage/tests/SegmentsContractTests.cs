using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.Tests;

public sealed class SegmentsEventLogTests : EventLogContract
{
    protected override Task<StoreFixture> CreateAsync() => Task.FromResult<StoreFixture>(LocalStore.Open("segments"));
}

public sealed class SegmentsBlobStoreTests : BlobStoreContract
{
    protected override Task<StoreFixture> CreateAsync() => Task.FromResult<StoreFixture>(LocalStore.Open("segments"));
}

public sealed class SegmentsReceiveTests : ReceiveContract
{
    protected override Task<StoreFixture> CreateAsync() => Task.FromResult<StoreFixture>(LocalStore.Open("segments"));
}

public sealed class SegmentsRoomTests : RoomContract
{
    protected override Task<StoreFixture> CreateAsync() => Task.FromResult<StoreFixture>(LocalStore.Open("segments"));
}
