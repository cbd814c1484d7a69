using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using Amazon.Runtime;
using Amazon.S3;
using Amazon.S3.Model;

namespace Yizhan.Storage;

/// <summary>
/// Objects in a bucket of an S3 server: written in parts, read in ranges, never listed. Every call is tried a few times with growing pauses by the client
/// itself; what then still fails is a <see cref="BlobAwayException"/>.
/// </summary>
internal sealed class S3Store : IDisposable
{
    /// <summary>Bytes of a part of an upload and of a read-back; S3 takes no smaller one but the last.</summary>
    public const int PartBytes = 8 * 1024 * 1024;

    private const int Retries = 3, MaxParts = 10_000, PartStep = 1024 * 1024;
    private const string HashName = "sha256";
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(30);

    private readonly AmazonS3Client _client;
    private readonly StorageOptions _options;
    private readonly TimeProvider _clock;

    /// <exception cref="InvalidOperationException">A setting is missing, or the file with the credentials cannot be read.</exception>
    public S3Store(StorageOptions options, TimeProvider clock)
    {
        (_options, _clock) = (options, clock);
        if (options.S3Bucket is not { Length: > 0 } || options.S3CredentialsFile is not { Length: > 0 })
        {
            throw new InvalidOperationException("storage:s3Url is set: storage:s3Bucket and storage:s3CredentialsFile (one line, ACCESSKEY:SECRETKEY) are needed too.");
        }

        var (access, secret) = Credentials(options.S3CredentialsFile);
        _client = new AmazonS3Client(access, secret, new AmazonS3Config
        {
            ServiceURL = options.S3Url,
            AuthenticationRegion = options.S3Region,
            ForcePathStyle = true,
            MaxErrorRetry = Retries,
            RetryMode = RequestRetryMode.Standard,
            Timeout = Timeout,
            MaxConnectionsPerServer = 64,
        });
    }

    /// <summary>
    /// Writes an object in parts, each with its MD5 so that the server refuses what the line changed. It is there whole or not at all. Locked for
    /// <see cref="StorageOptions.S3LockDays"/>, if that is set.
    /// </summary>
    /// <param name="key">Name of the object.</param>
    /// <param name="length">Its bytes.</param>
    /// <param name="read">Fills a buffer from an offset on.</param>
    /// <param name="cancellationToken">Breaks it off; the parts are taken away.</param>
    /// <returns>SHA-256 of what was sent.</returns>
    public Task<byte[]> PutAsync(string key, long length, Action<long, Memory<byte>> read, CancellationToken cancellationToken) =>
        PutAsync(key, length, null, read, cancellationToken);

    /// <summary>Writes a file as an object that says its SHA-256 itself; returns that.</summary>
    public async Task<byte[]> PutFileAsync(string key, string path, CancellationToken cancellationToken)
    {
        var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read);
        await using var disposed = file.ConfigureAwait(false);
        var hash = await SHA256.HashDataAsync(file, cancellationToken).ConfigureAwait(false);
        var sent = await PutAsync(key, file.Length, hash, (at, part) =>
        {
            if (RandomAccess.Read(file.SafeFileHandle, part.Span, at) < part.Length)
            {
                throw new InvalidDataException($"{path} became shorter while it was sent.");
            }
        }, cancellationToken).ConfigureAwait(false);
        return sent.AsSpan().SequenceEqual(hash) ? hash : throw new InvalidDataException($"{path} changed while it was sent.");
    }

    /// <summary>Reads an object that <see cref="PutFileAsync"/> wrote into a file; false when there is none.</summary>
    /// <exception cref="InvalidDataException">It is not what was written; the file is not there then.</exception>
    public async Task<bool> TryGetFileAsync(string key, string path, CancellationToken cancellationToken)
    {
        if (await FindAsync(key, cancellationToken).ConfigureAwait(false) is not var (length, sha256))
        {
            return false;
        }

        try
        {
            var file = new FileStream(path, FileMode.Create, FileAccess.ReadWrite, FileShare.None);
            await using var disposed = file.ConfigureAwait(false);
            var part = new byte[Math.Min(PartBytes, length)];
            for (var at = 0L; at < length; at += part.Length)
            {
                var some = part.AsMemory(0, (int)Math.Min(part.Length, length - at));
                await ReadAsync(key, at, some, cancellationToken).ConfigureAwait(false);
                await file.WriteAsync(some, cancellationToken).ConfigureAwait(false);
            }

            file.Flush(flushToDisk: true);
            file.Position = 0;
            var got = Convert.ToHexStringLower(await SHA256.HashDataAsync(file, cancellationToken).ConfigureAwait(false));
            return got == sha256 ? true : throw new InvalidDataException($"The object {key} has other bytes than were written: SHA-256 {got}, and it says {sha256 ?? "none"}.");
        }
        catch
        {
            File.Delete(path);
            throw;
        }
    }

    /// <summary>Length of an object, and the SHA-256 that it says of itself, in hex; null when there is none.</summary>
    public async Task<(long Length, string? Sha256)?> FindAsync(string key, CancellationToken cancellationToken)
    {
        try
        {
            var answer = await TryAsync("look for", key, () => _client.GetObjectMetadataAsync(_options.S3Bucket, key, cancellationToken)).ConfigureAwait(false);
            return (answer.ContentLength, answer.Metadata[HashName]);
        }
        catch (InvalidDataException)
        {
            return null;
        }
    }

    private async Task<byte[]> PutAsync(string key, long length, byte[]? sha256, Action<long, Memory<byte>> read, CancellationToken cancellationToken)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var begin = new InitiateMultipartUploadRequest { BucketName = _options.S3Bucket, Key = key, ContentType = "application/octet-stream" };
        if (_options.S3LockDays > 0)
        {
            begin.ObjectLockMode = ObjectLockMode.Compliance;
            begin.ObjectLockRetainUntilDate = _clock.GetUtcNow().UtcDateTime.AddDays(_options.S3LockDays);
        }

        if (sha256 is not null)
        {
            begin.Metadata[HashName] = Convert.ToHexStringLower(sha256);
        }

        var upload = (await TryAsync("begin an upload of", key, () => _client.InitiateMultipartUploadAsync(begin, cancellationToken)).ConfigureAwait(false)).UploadId;
        try
        {
            var parts = new List<PartETag>();

            // An object has a bounded number of parts, so a long one has larger ones.
            var partBytes = Math.Max(PartBytes, (((length / MaxParts) / PartStep) + 1) * PartStep);
            var buffer = new byte[Math.Min(partBytes, length)];
            for (var at = 0L; at < length; at += partBytes)
            {
                var part = buffer.AsMemory(0, (int)Math.Min(partBytes, length - at));
                read(at, part);
                hash.AppendData(part.Span);
                var number = parts.Count + 1;
                var answer = await TryAsync("write a part of", key, () => _client.UploadPartAsync(Part(key, upload, number, buffer, part.Length), cancellationToken)).ConfigureAwait(false);
                parts.Add(new PartETag(number, answer.ETag));
            }

            await TryAsync("end an upload of", key, () => _client.CompleteMultipartUploadAsync(
                new CompleteMultipartUploadRequest { BucketName = _options.S3Bucket, Key = key, UploadId = upload, PartETags = parts }, cancellationToken)).ConfigureAwait(false);
            return hash.GetHashAndReset();
        }
        catch
        {
            await AbortAsync(key, upload).ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Reads a range of an object: all of it, or it fails.</summary>
    /// <exception cref="BlobAwayException">The server does not answer, or gave less.</exception>
    /// <exception cref="InvalidDataException">There is no such object.</exception>
    public async Task ReadAsync(string key, long offset, Memory<byte> bytes, CancellationToken cancellationToken) => await TryAsync("read", key, async () =>
    {
        using var answer = await _client.GetObjectAsync(
            new GetObjectRequest { BucketName = _options.S3Bucket, Key = key, ByteRange = new Amazon.S3.Model.ByteRange(offset, offset + bytes.Length - 1) }, cancellationToken).ConfigureAwait(false);
        if (answer.ContentLength != bytes.Length)
        {
            throw new InvalidDataException($"The object {key} ends after {answer.ContentLength} of the {bytes.Length} bytes from {offset} on that it had.");
        }

        var read = await answer.ResponseStream.ReadAtLeastAsync(bytes, bytes.Length, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false);
        return read == bytes.Length ? read : throw new EndOfStreamException($"The answer ended after {read} of {bytes.Length} bytes.");
    }).ConfigureAwait(false);

    /// <summary>Reads an object back and hashes it.</summary>
    public async Task<byte[]> HashAsync(string key, long length, CancellationToken cancellationToken)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[Math.Min(PartBytes, length)];
        for (var at = 0L; at < length; at += PartBytes)
        {
            var part = buffer.AsMemory(0, (int)Math.Min(PartBytes, length - at));
            await ReadAsync(key, at, part, cancellationToken).ConfigureAwait(false);
            hash.AppendData(part.Span);
        }

        return hash.GetHashAndReset();
    }

    /// <summary>Deletes an object; nothing happens when there is none. In a bucket with versions it can be brought back.</summary>
    public Task DeleteAsync(string key, CancellationToken cancellationToken) =>
        TryAsync("delete", key, () => _client.DeleteObjectAsync(_options.S3Bucket, key, cancellationToken));

    /// <inheritdoc/>
    public void Dispose() => _client.Dispose();

    [SuppressMessage("Security", "CA5351", Justification = "Content-MD5 (RFC 1864) is what S3 checks a body with; nothing is trusted for it.")]
    [SuppressMessage("Reliability", "CA2000", Justification = "The client disposes the stream of a request.")]
    private UploadPartRequest Part(string key, string upload, int number, byte[] buffer, int length) => new()
    {
        BucketName = _options.S3Bucket,
        Key = key,
        UploadId = upload,
        PartNumber = number,
        PartSize = length,

        // The whole body is signed at once, so that a server need not know the framing of signed chunks.
        UseChunkEncoding = false,
        InputStream = new MemoryStream(buffer, 0, length, writable: false),
        MD5Digest = Convert.ToBase64String(MD5.HashData(buffer.AsSpan(0, length))),
    };

    private async Task AbortAsync(string key, string upload)
    {
        try
        {
            using var patience = new CancellationTokenSource(Timeout);
            await _client.AbortMultipartUploadAsync(_options.S3Bucket, key, upload, patience.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is AmazonClientException or AmazonServiceException or HttpRequestException or OperationCanceledException)
        {
            // A lifecycle rule of the bucket takes away what was never completed (docs/operations/production.md).
        }
    }

    /// <summary>Once more than the client itself tries, for what only the reading of the body shows.</summary>
    private async Task<T> TryAsync<T>(string what, string key, Func<Task<T>> call)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                return await call().ConfigureAwait(false);
            }
            catch (AmazonServiceException e) when (e.StatusCode is HttpStatusCode.NotFound or HttpStatusCode.RequestedRangeNotSatisfiable)
            {
                throw new InvalidDataException($"S3 at {_options.S3Url} has no whole object {key} in the bucket {_options.S3Bucket} ({e.ErrorCode}).", e);
            }
            catch (Exception e) when (e is AmazonClientException or AmazonServiceException or HttpRequestException or IOException or WebException or TimeoutException
                || e is OperationCanceledException { InnerException: TimeoutException })
            {
                // Of what the server refused itself the client has tried its best.
                if (attempt == 3 || e is AmazonServiceException)
                {
                    var status = e is AmazonServiceException { StatusCode: > 0 } service
                        ? string.Create(CultureInfo.InvariantCulture, $" (HTTP {(int)service.StatusCode} {service.ErrorCode})") : "";
                    throw new BlobAwayException($"S3 at {_options.S3Url} could not {what} {key}{status}: {e.Message}", e);
                }
            }
        }
    }

    private static (string Access, string Secret) Credentials(string path)
    {
        string text;
        try
        {
            text = File.ReadAllText(path).Trim();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InvalidOperationException($"{path} (storage:s3CredentialsFile) cannot be read: {e.Message}", e);
        }

        var colon = text.IndexOf(':', StringComparison.Ordinal);
        return colon > 0 && colon < text.Length - 1 ? (text[..colon], text[(colon + 1)..])
            : throw new InvalidOperationException($"{path} (storage:s3CredentialsFile) must hold one line: ACCESSKEY:SECRETKEY.");
    }
}

/// <summary>Blobs are where they cannot be reached just now: come again.</summary>
public sealed class BlobAwayException : IOException
{
    /// <inheritdoc/>
    public BlobAwayException(string message, Exception inner)
        : base(message, inner)
    {
    }

    /// <inheritdoc/>
    public BlobAwayException(string message)
        : base(message)
    {
    }

    /// <inheritdoc/>
    public BlobAwayException()
    {
    }
}
