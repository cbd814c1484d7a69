using System.Buffers;
using System.Collections.Concurrent;
using System.IO.Pipelines;
using System.Net.Sockets;
using Yizhan.Hl7v2;
using Yizhan.Platform.Certificates;

namespace Yizhan.EmrAdapter.Hl7;

/// <summary>Sends messages over connections that stay open. As many are opened as there are calls at a time; the caller bounds those.</summary>
internal sealed class MllpClient(string host, int port, CertificateTrust? trust) : IAsyncDisposable
{
    private const int MaxAnswerBytes = 1024 * 1024;

    private readonly ConcurrentBag<Connection> _idle = [];

    /// <summary>Sends one message and returns the answer whose MSA-2 is its control id.</summary>
    /// <exception cref="MllpException">There is no connection, or no answer; says which.</exception>
    public async Task<Hl7Message> SendAsync(byte[] message, string controlId, TimeSpan timeout, CancellationToken cancellationToken)
    {
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        patience.CancelAfter(timeout);
        var frame = MllpFraming.Frame(message);
        while (true)
        {
            var reused = _idle.TryTake(out var connection);
            try
            {
                connection ??= await ConnectAsync(patience.Token);
            }
            catch (Exception e) when (IsAway(e, cancellationToken))
            {
                throw new MllpException($"{host}:{port} is not reached: {Words(e)}", wasSent: false, e);
            }

            try
            {
                var answer = await connection.ExchangeAsync(frame, controlId, patience.Token);
                _idle.Add(connection);
                return answer;
            }
            catch (Exception e) when (IsAway(e, cancellationToken))
            {
                await connection.DisposeAsync();

                // A connection that stood open may have been closed by the other side long ago; a fresh one says more.
                if (!reused || patience.IsCancellationRequested)
                {
                    throw new MllpException($"{host}:{port} did not answer: {Words(e)}", wasSent: true, e);
                }
            }
            catch
            {
                await connection.DisposeAsync();
                throw;
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        while (_idle.TryTake(out var connection))
        {
            await connection.DisposeAsync();
        }
    }

    private static bool IsAway(Exception e, CancellationToken cancellationToken) =>
        e is SocketException or IOException or Hl7Exception or System.Security.Authentication.AuthenticationException
        || (e is OperationCanceledException && !cancellationToken.IsCancellationRequested);

    private static string Words(Exception e) => e is OperationCanceledException ? "the time for it is over." : e.Message;

    private async Task<Connection> ConnectAsync(CancellationToken cancellationToken)
    {
        var client = new TcpClient { NoDelay = true };
        try
        {
            await client.ConnectAsync(host, port, cancellationToken);
            Stream stream = client.GetStream();
            return new Connection(client, trust is null ? stream : await MllpTls.ConnectAsync(stream, host, trust, cancellationToken));
        }
        catch
        {
            client.Dispose();
            throw;
        }
    }

    private sealed class Connection(TcpClient client, Stream stream) : IAsyncDisposable
    {
        private readonly PipeReader _pipe = PipeReader.Create(stream);

        public async Task<Hl7Message> ExchangeAsync(byte[] frame, string controlId, CancellationToken cancellationToken)
        {
            await stream.WriteAsync(frame, cancellationToken);
            await stream.FlushAsync(cancellationToken);
            while (true)
            {
                var read = await _pipe.ReadAsync(cancellationToken);
                var buffer = read.Buffer;
                Hl7Message? found = null;
                while (found is null && MllpFraming.TryRead(ref buffer, MaxAnswerBytes, out var bytes))
                {
                    // An answer to an earlier message may still be on its way; MSH-10 of an answer says nothing.
                    var answer = Hl7Message.Parse(bytes.ToArray());
                    found = answer["MSA-2"] == controlId ? answer : null;
                }

                _pipe.AdvanceTo(buffer.Start, found is null ? buffer.End : buffer.Start);
                if (found is not null)
                {
                    return found;
                }

                if (read.IsCompleted)
                {
                    throw new IOException("The other side has ended the connection.");
                }
            }
        }

        public async ValueTask DisposeAsync()
        {
            await _pipe.CompleteAsync();
            client.Dispose();
        }
    }
}

/// <summary>A message did not get its answer.</summary>
internal sealed class MllpException(string message, bool wasSent, Exception inner) : Exception(message, inner)
{
    /// <summary>True when the other side may have it.</summary>
    public bool WasSent { get; } = wasSent;
}
