using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Yizhan.Storage;

namespace Yizhan.Bench;

/// <summary>
/// What this machine can do at most for a study that is encrypted at rest: a loop that reads chunks from the page cache, opens them and writes them to a
/// loopback socket whose other end is read and thrown away. One thread, no HTTP, no index; the same without opening them says what encryption costs.
/// </summary>
internal static class PacsLimit
{
    private const int WarmUps = 2;
    private const int Chunk = IBlobStore.ChunkBytes;
    private const int PieceChunks = 4;

    /// <summary>MB/s of the loop with and without opening the chunks, for a file of so many bytes.</summary>
    public static async Task<(double Sealed, double Plain)> MeasureAsync(string folder, long bytes, int repetitions, CancellationToken cancellationToken)
    {
        var path = Path.Combine(folder, "limit");
        using var key = new AesGcm(RandomNumberGenerator.GetBytes(32), 16);
        var tags = Seal(path, bytes / Chunk, key);
        try
        {
            using var file = File.OpenHandle(path);
            return (await RateAsync(file, key, tags, repetitions, cancellationToken), await RateAsync(file, null, tags, repetitions, cancellationToken));
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static byte[] Seal(string path, long chunks, AesGcm key)
    {
        var tags = new byte[chunks * 16];
        var chunk = new byte[Chunk];
        using var file = File.Create(path);
        for (var i = 0; i < chunks; i++)
        {
            Random.Shared.NextBytes(chunk);
            key.Encrypt(Nonce(i), chunk, chunk, tags.AsSpan(i * 16, 16));
            file.Write(chunk);
        }

        return tags;
    }

    private static async Task<double> RateAsync(Microsoft.Win32.SafeHandles.SafeFileHandle file, AesGcm? key, byte[] tags, int repetitions, CancellationToken cancellationToken)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var to = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        var accepting = listener.AcceptSocketAsync(cancellationToken);
        await to.ConnectAsync(listener.LocalEndpoint, cancellationToken);
        using var from = await accepting;
        var bytes = (long)tags.Length / 16 * Chunk;
        var seconds = 0.0;
        for (var i = -WarmUps; i < repetitions; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var start = Stopwatch.GetTimestamp();
            var reading = Task.Factory.StartNew(() => Drain(from, bytes), cancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default);
            Write(file, key, tags, to);
            await reading;
            seconds += i < 0 ? 0 : Stopwatch.GetElapsedTime(start).TotalSeconds;
        }

        return bytes * repetitions / 1e6 / seconds;
    }

    private static void Write(Microsoft.Win32.SafeHandles.SafeFileHandle file, AesGcm? key, byte[] tags, Socket to)
    {
        var piece = new byte[PieceChunks * Chunk];
        for (var chunk = 0; chunk < tags.Length / 16;)
        {
            var read = RandomAccess.Read(file, piece, (long)chunk * Chunk);
            for (var at = 0; at < read; at += Chunk, chunk++)
            {
                key?.Decrypt(Nonce(chunk), piece.AsSpan(at, Chunk), tags.AsSpan(chunk * 16, 16), piece.AsSpan(at, Chunk));
            }

            for (var sent = 0; sent < read;)
            {
                sent += to.Send(piece.AsSpan(sent, read - sent));
            }
        }
    }

    private static void Drain(Socket from, long bytes)
    {
        var buffer = new byte[256 * 1024];
        while (bytes > 0)
        {
            bytes -= from.Receive(buffer) is > 0 and var read ? read : throw new IOException("The connection of the bare loop ended.");
        }
    }

    private static byte[] Nonce(int chunk)
    {
        var nonce = new byte[12];
        BitConverter.TryWriteBytes(nonce, chunk);
        return nonce;
    }
}
