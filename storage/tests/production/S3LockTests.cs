using System.Net;
using Amazon.S3;
using Amazon.S3.Model;
using Microsoft.Extensions.Time.Testing;
using Yizhan.Storage.Tests.Contract;

namespace Yizhan.Storage.ProductionTests;

/// <summary>Immutable copies, on a server that has versions and object lock (<c>./check s3</c>): who has the credentials can hide one, and neither delete nor change it.</summary>
[Trait("Clause", "D8.3")]
public sealed class S3LockTests(PostgresServer server, S3Server s3) : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("yizhan-lock-").FullName;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_locked_copy_can_neither_be_deleted_nor_overwritten_before_its_time()
    {
        var (client, options) = await BucketAsync();
        using var store = new S3Store(options, TimeProvider.System);
        var (file, kept) = (Path.Combine(_folder, "file"), Given.Bytes(9_000_000, "kept"));
        await File.WriteAllBytesAsync(file, kept, Cancel);
        await store.PutFileAsync("copy", file, Cancel);
        var version = Assert.Single(await VersionsAsync(client, options)).VersionId;
        var lockedUntil = (await client.GetObjectRetentionAsync(new GetObjectRetentionRequest { BucketName = options.S3Bucket, Key = "copy", VersionId = version }, Cancel)).Retention;
        Assert.Equal(ObjectLockRetentionMode.Compliance, lockedUntil.Mode);

        await RefusedAsync(() => client.DeleteObjectAsync(options.S3Bucket, "copy", version, Cancel));
        await RefusedAsync(() => client.DeleteObjectAsync(
            new DeleteObjectRequest { BucketName = options.S3Bucket, Key = "copy", VersionId = version, BypassGovernanceRetention = true }, Cancel));
        await RefusedAsync(() => client.PutObjectRetentionAsync(
            new PutObjectRetentionRequest
            {
                BucketName = options.S3Bucket,
                Key = "copy",
                VersionId = version,
                BypassGovernanceRetention = true,
                Retention = new ObjectLockRetention { Mode = ObjectLockRetentionMode.Compliance, RetainUntilDate = lockedUntil.RetainUntilDate.AddHours(-1) },
            }, Cancel));

        // What can be done: another version above it, and a mark that says deleted. Below both it is what it was.
        using (var other = new MemoryStream("encrypted, pay"u8.ToArray()))
        {
            await client.PutObjectAsync(new PutObjectRequest { BucketName = options.S3Bucket, Key = "copy", InputStream = other, UseChunkEncoding = false }, Cancel);
        }

        await store.DeleteAsync("copy", Cancel);
        Assert.Null(await store.FindAsync("copy", Cancel));
        Assert.Contains(await VersionsAsync(client, options), v => v.VersionId == version && !v.IsDeleteMarker);
        using var answer = await client.GetObjectAsync(options.S3Bucket, "copy", version, Cancel);
        using var bytes = new MemoryStream();
        await answer.ResponseStream.CopyToAsync(bytes, Cancel);
        Assert.Equal(kept, bytes.ToArray());
    }

    [Fact]
    public async Task A_copy_can_be_deleted_after_its_time()
    {
        var (client, options) = await BucketAsync();
        var (now, file) = (TimeProvider.System.GetUtcNow(), Path.Combine(_folder, "file"));

        // A clock that is nearly a day behind, so that a lock of a day ends half a minute from now.
        using var store = new S3Store(options, new FakeTimeProvider(now.AddDays(-options.S3LockDays).AddSeconds(30)));
        await File.WriteAllBytesAsync(file, Given.Bytes(1000, "kept"), Cancel);
        await store.PutFileAsync("copy", file, Cancel);
        var version = Assert.Single(await VersionsAsync(client, options)).VersionId;
        while ((await VersionsAsync(client, options)).Count > 0)
        {
            try
            {
                await client.DeleteObjectAsync(options.S3Bucket, "copy", version, Cancel);
            }
            catch (AmazonS3Exception e) when (e.StatusCode == HttpStatusCode.Forbidden)
            {
                await Task.Delay(TimeSpan.FromSeconds(1), Cancel);
            }
        }

        Assert.True(TimeProvider.System.GetUtcNow() > now.AddSeconds(29), "It was deleted before its time.");
    }

    [Fact]
    public async Task Blobs_that_moved_there_are_locked_and_a_log_that_forgets_them_does_not_take_them_away()
    {
        var (client, options) = await BucketAsync();
        await using var store = PostgresStore.Open(server.ConnectionString, configure: o =>
        {
            s3.Settings()(o);
            (o.S3Bucket, o.S3LockDays) = (options.S3Bucket, options.S3LockDays);
        });
        for (var i = 0; i < 12; i++)
        {
            await store.AppendWithBlobAsync($"b{i}", Given.Bytes(1_500_000 + i, $"b{i}"));
        }

        Assert.True(await store.Mover.RunOnceAsync(Cancel) > 0);
        var there = await VersionsAsync(client, options);
        Assert.NotEmpty(there);
        await store.Log.MarkDeliveredAsync(Lane.Bulk, 12, Cancel);
        await store.Log.ReleaseAsync(Lane.Bulk, 12, Cancel);
        await store.Mover.RunOnceAsync(Cancel);
        Assert.Equal(0, await store.NumberAsync("SELECT count(*) FROM away"));
        var after = await VersionsAsync(client, options);
        Assert.Equal(there.Select(v => v.VersionId).Order(StringComparer.Ordinal), after.Where(v => !v.IsDeleteMarker).Select(v => v.VersionId).Order(StringComparer.Ordinal));
        Assert.Equal(there.Count, after.Count(v => v.IsDeleteMarker));
        foreach (var version in there)
        {
            await RefusedAsync(() => client.DeleteObjectAsync(options.S3Bucket, version.Key, version.VersionId, Cancel));
        }
    }

    /// <summary>A bucket of its own with object lock, and settings of a store in it that locks for a day.</summary>
    private async Task<(AmazonS3Client Client, StorageOptions Options)> BucketAsync()
    {
        var client = s3.WithLocks();
        var bucket = $"locked-{Guid.CreateVersion7(TimeProvider.System.GetUtcNow())}";
        await client.PutBucketAsync(new PutBucketRequest { BucketName = bucket, ObjectLockEnabledForBucket = true }, Cancel);
        var credentials = Path.Combine(_folder, "credentials");
        await File.WriteAllTextAsync(credentials, s3.Credentials, Cancel);
        return (client, new StorageOptions { S3Url = s3.Url.ToString(), S3Bucket = bucket, S3CredentialsFile = credentials, S3LockDays = 1 });
    }

    private static async Task RefusedAsync(Func<Task> act) =>
        Assert.Equal(HttpStatusCode.Forbidden, (await Assert.ThrowsAnyAsync<AmazonS3Exception>(act)).StatusCode);

    private static async Task<List<S3ObjectVersion>> VersionsAsync(AmazonS3Client client, StorageOptions options) =>
        (await client.ListVersionsAsync(options.S3Bucket, Cancel)).Versions;
}
