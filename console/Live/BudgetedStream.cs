namespace Yizhan.Console.Live;

/// <summary>
/// Refuses to read more than a budget until it is renewed. The parser of server-sent events keeps a line until it ends, and
/// would keep one that never does.
/// </summary>
internal sealed class BudgetedStream(Stream inner, int budget) : Stream
{
    private int _spent;

    public void Renew() => _spent = 0;

    /// <exception cref="InvalidDataException">The budget is spent.</exception>
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_spent == budget)
        {
            throw new InvalidDataException($"An event is longer than {budget} bytes.");
        }

        var read = await inner.ReadAsync(buffer[..Math.Min(buffer.Length, budget - _spent)], cancellationToken);
        _spent += read;
        return read;
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override bool CanRead => true;
    public override bool CanSeek => false;
    public override bool CanWrite => false;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }
    public override void Flush() => throw new NotSupportedException();
    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();
    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            inner.Dispose();
        }

        base.Dispose(disposing);
    }
}
