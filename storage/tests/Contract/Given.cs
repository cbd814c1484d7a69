using System.Text;

namespace Yizhan.Storage.Tests.Contract;

/// <summary>Entries and bytes for tests.</summary>
internal static class Given
{
    public static Entry Entry(string id, Lane lane = Lane.Normal, int bytes = 40, params BlobRef[] blobs) =>
        new(lane, "yizhan.test.fact.v1", id, "key-" + id[..Math.Min(id.Length, 9)], 1_700_000_000_000 + id.Length, Bytes(bytes, id)) { Blobs = blobs, TraceParent = "00-trace" };

    /// <summary>Bytes that are the same for the same seed, and that no checksum or compressor finds simple.</summary>
    public static byte[] Bytes(int length, string seed)
    {
        var bytes = new byte[length];
        new Random(BitConverter.ToInt32(ContentHash.Of(Encoding.UTF8.GetBytes(seed)).ToArray())).NextBytes(bytes);
        return bytes;
    }

    public static BlobRef Ref(byte[] bytes) => new(ContentHash.Of(bytes), bytes.Length);

    public static async Task<Receipt> AppendAsync(this IEventLog log, Entry entry) =>
        (await log.AppendAsync([entry], TestContext.Current.CancellationToken))[0];

    /// <summary>Writes a blob in odd pieces and appends an entry that names it.</summary>
    public static async Task<Receipt> AppendWithBlobAsync(this StoreFixture store, string id, byte[] blob, Lane lane = Lane.Bulk)
    {
        await using var writer = store.Blobs.Begin(lane);
        for (var at = 0; at < blob.Length; at += 16_001)
        {
            await writer.WriteAsync(blob.AsMemory(at, Math.Min(16_001, blob.Length - at)), TestContext.Current.CancellationToken);
        }

        var named = await writer.CompleteAsync(TestContext.Current.CancellationToken);
        return await store.Log.AppendAsync(Entry(id, lane, 40, named));
    }

    /// <summary>Writes an image of a patient and appends an entry that says so.</summary>
    public static async Task<Receipt> AppendImageAsync(this StoreFixture store, string patient, string name, byte[] image)
    {
        await using var writer = store.Blobs.Begin(Lane.Bulk);
        await writer.WriteAsync(image, TestContext.Current.CancellationToken);
        var blob = await writer.CompleteAsync(TestContext.Current.CancellationToken);
        return await store.Log.AppendAsync(
            new Entry(Lane.Bulk, "yizhan.test.image.v1", patient + name, patient, 1_700_000_000_000, Encoding.UTF8.GetBytes($"{{\"patient\":\"{patient}\"}}")) { Blobs = [blob] });
    }

    /// <summary>All bytes of a blob; null when it is not there.</summary>
    public static async Task<byte[]?> ReadAllAsync(this IBlobStore blobs, ContentHash hash)
    {
        await using var reader = await blobs.OpenAsync(hash, TestContext.Current.CancellationToken);
        if (reader is null)
        {
            return null;
        }

        var bytes = new byte[reader.Length];
        for (var at = 0; at < bytes.Length;)
        {
            var read = await reader.ReadAsync(at, bytes.AsMemory(at), TestContext.Current.CancellationToken);
            Assert.NotEqual(0, read);
            at += read;
        }

        return bytes;
    }

    /// <summary>Everything in the log, by position.</summary>
    public static async Task<List<LoggedEntry>> ReadAllAsync(this IEventLog log)
    {
        var all = new List<LoggedEntry>();
        while (await log.ReadAsync(all.Count == 0 ? 0 : all[^1].Position, 100, TestContext.Current.CancellationToken) is { Count: > 0 } page)
        {
            all.AddRange(page);
        }

        return all;
    }
}
