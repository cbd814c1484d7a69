using System.Runtime.ExceptionServices;

namespace Yizhan.Dicom.Network;

/// <summary>Serves one association as SCP: receives requests, lets a handler answer them, within the negotiated operations window.</summary>
public static class ServiceLoop
{
    /// <summary>
    /// Runs until the peer releases. C-ECHO is answered here; every other request goes to the handler, which sends the response itself. The next
    /// request is received once the handler has returned or has read its data set to the end, so that with a window above 1 the next
    /// instance comes in while the last one is committed.
    /// </summary>
    /// <param name="association">An established association. The caller disposes it.</param>
    /// <param name="handler">Answers one message. What it throws ends the loop.</param>
    /// <param name="cancellationToken">Aborts the association.</param>
    /// <exception cref="AssociationException">The association ended otherwise than by release.</exception>
    public static async Task ServeAsync(Association association, Func<DimseMessage, CancellationToken, Task> handler, CancellationToken cancellationToken)
    {
        var running = new List<Task>();
        using var stopping = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        ExceptionDispatchInfo? fault = null;
        try
        {
            while (await association.ReceiveAsync(stopping.Token) is { } message)
            {
                var handling = HandleAsync(message);
                running.Add(handling);
                await Task.WhenAny(handling, message.DataSet?.Completed ?? handling);

                // Never more than the window: a request is only received when an earlier one was answered.
                running.RemoveAll(task => task.IsCompletedSuccessfully);
            }

            await Task.WhenAll(running);
            await association.ReleaseAsync(stopping.Token);
        }
        catch
        {
            await association.AbortAsync(CancellationToken.None);
            await stopping.CancelAsync();
            await Task.WhenAll(running).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            fault?.Throw();
            throw;
        }

        async Task HandleAsync(DimseMessage message)
        {
            try
            {
                await (message.Command.Field == CommandField.CEchoRequest
                    ? association.SendAsync(message.PresentationContext.Id, message.Command.CreateResponse(DimseStatus.Success), stopping.Token).AsTask()
                    : handler(message, stopping.Token));
                if (association.IsUnanswered(message.Command))
                {
                    throw new InvalidOperationException($"The handler returned without a final response to {message.Command}.");
                }
            }
            catch (Exception e)
            {
                // The peer waits for a response that will not come, and the loop waits for the peer.
                if (e is not (AssociationException or OperationCanceledException))
                {
                    Interlocked.CompareExchange(ref fault, ExceptionDispatchInfo.Capture(e), null);
                }

                await association.AbortAsync(CancellationToken.None);
                throw;
            }
        }
    }
}
