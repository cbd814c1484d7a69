using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.Tests.Remote;

[Trait("Clause", "D1.1")]
public sealed class RemoteEventLogTests : EventLogContract
{
    protected override async Task<StoreFixture> CreateAsync() => await RemoteStore.OpenAsync();
}

[Trait("Clause", "D1.1")]
public sealed class RemoteBlobStoreTests : BlobStoreContract
{
    protected override async Task<StoreFixture> CreateAsync() => await RemoteStore.OpenAsync();
}

[Trait("Clause", "D1.1")]
public sealed class RemoteReceiveTests : ReceiveContract
{
    protected override async Task<StoreFixture> CreateAsync() => await RemoteStore.OpenAsync();
}

[Trait("Clause", "D1.1")]
public sealed class RemoteRoomTests : RoomContract
{
    protected override async Task<StoreFixture> CreateAsync() => await RemoteStore.OpenAsync();
}
