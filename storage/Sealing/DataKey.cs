using System.Collections.Concurrent;
using System.Security.Cryptography;

namespace Yizhan.Storage;

/// <summary>The key of a day: AES-256-GCM. For any thread. Whoever seals gives a nonce that this key never saw.</summary>
internal sealed class DataKey(byte[] key) : IDisposable
{
    public const int KeyBytes = 32;
    public const int NonceBytes = 12;
    public const int TagBytes = 16;
    private const int MaxKept = 32;

    // One cipher is for one thread at a time.
    private readonly ConcurrentQueue<AesGcm> _free = new();
    private volatile bool _disposed;

    /// <summary>Encrypts; both spans may be the same.</summary>
    public void Seal(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> plain, Span<byte> cipherText, Span<byte> tag, ReadOnlySpan<byte> label)
    {
        var cipher = Rent();
        cipher.Encrypt(nonce, plain, cipherText, tag, label);
        Return(cipher);
    }

    /// <summary>Decrypts; both spans may be the same. False: something was changed, or it was sealed by another key; the plain text is zeros.</summary>
    public bool TryOpen(ReadOnlySpan<byte> nonce, ReadOnlySpan<byte> cipherText, ReadOnlySpan<byte> tag, Span<byte> plain, ReadOnlySpan<byte> label)
    {
        var cipher = Rent();
        try
        {
            cipher.Decrypt(nonce, cipherText, tag, plain, label);
            return true;
        }
        catch (AuthenticationTagMismatchException)
        {
            return false;
        }
        finally
        {
            Return(cipher);
        }
    }

    /// <summary>Forgets the key. What is under way ends with it.</summary>
    public void Dispose()
    {
        _disposed = true;
        CryptographicOperations.ZeroMemory(key);
        while (_free.TryDequeue(out var cipher))
        {
            cipher.Dispose();
        }
    }

    private AesGcm Rent()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        return _free.TryDequeue(out var cipher) ? cipher : new AesGcm(key, TagBytes);
    }

    private void Return(AesGcm cipher)
    {
        if (_disposed || _free.Count >= MaxKept)
        {
            cipher.Dispose();
        }
        else
        {
            _free.Enqueue(cipher);
        }
    }
}
