namespace Yizhan.Dicom.Network;

/// <summary>One instance to send: what the command set says, and its data set as it is.</summary>
/// <param name="SopClassUid">SOP class UID.</param>
/// <param name="SopInstanceUid">SOP instance UID.</param>
/// <param name="TransferSyntaxUid">The transfer syntax that the data set is in. It is sent in this one or not at all.</param>
/// <param name="Open">Opens the data set, from its first element (for a file: after the meta information). The sender disposes it.</param>
public sealed record StoreInstance(string SopClassUid, string SopInstanceUid, string TransferSyntaxUid, Func<Stream> Open)
{
    /// <summary>An instance whose data set is in memory.</summary>
    public static StoreInstance FromMemory(string sopClassUid, string sopInstanceUid, string transferSyntaxUid, byte[] dataSet) =>
        new(sopClassUid, sopInstanceUid, transferSyntaxUid, () => new MemoryStream(dataSet, writable: false));
}

/// <summary>What became of one instance.</summary>
public enum StoreOutcome
{
    /// <summary>The peer answered; see <see cref="StoreResult.Status"/>, which may be a failure.</summary>
    Answered,

    /// <summary>The peer accepted no presentation context for this SOP class and transfer syntax. Nothing was sent.</summary>
    NotAccepted,

    /// <summary>The data set could not be opened or read. Nothing of it was sent.</summary>
    Unreadable,

    /// <summary>It was sent at least in part, and the association ended before the answer: the peer may have it or not.</summary>
    Unknown,

    /// <summary>The association ended before its turn. Nothing was sent.</summary>
    NotSent,
}

/// <summary>The result of one instance.</summary>
/// <param name="Instance">The instance.</param>
/// <param name="Outcome">What became of it.</param>
/// <param name="Status">The peer's status, when it answered.</param>
/// <param name="Message">The peer's error comment, or why there is no status; null when all is well.</param>
public sealed record StoreResult(StoreInstance Instance, StoreOutcome Outcome, ushort? Status, string? Message)
{
    /// <summary>True when the peer has it: success or a warning (PS3.4 §B.2.3).</summary>
    public bool IsStored => Outcome == StoreOutcome.Answered && (Status == DimseStatus.Success || DimseStatus.IsWarning(Status!.Value));
}

/// <summary>Sends instances over associations of its own (PS3.4 Annex B), as many at a time as the operations window allows.</summary>
/// <param name="connect">Opens an association for a request: usually <see cref="Connector"/>.</param>
/// <param name="callingAeTitle">Our AE title.</param>
/// <param name="calledAeTitle">The peer's AE title.</param>
public sealed class StoreScu(
    Func<AssociateRequest, CancellationToken, Task<Association>> connect, string callingAeTitle, string calledAeTitle)
{
    private const int MaxContexts = 128;

    /// <summary>Called with each answer as it arrives, for progress; must return at once. Null: nobody is told.</summary>
    public Action<StoreResult>? Answered { get; init; }

    /// <summary>Who asked for it by which C-MOVE (PS3.7 §9.3.1.1); null when nobody did.</summary>
    public (string AeTitle, ushort MessageId)? MoveOriginator { get; init; }

    /// <summary>
    /// Sends all instances in order, one association for each 128 different pairs of SOP class and transfer syntax. An association that fails is
    /// not opened again: the rest comes back as <see cref="StoreOutcome.Unknown"/> or <see cref="StoreOutcome.NotSent"/> for the caller to retry.
    /// </summary>
    /// <returns>One result for each instance, in order.</returns>
    /// <exception cref="AssociationException">The first association could not be opened; nothing was sent.</exception>
    /// <exception cref="OperationCanceledException">Given up; what was sent is not known.</exception>
    public async Task<IReadOnlyList<StoreResult>> SendAsync(IReadOnlyList<StoreInstance> instances, CancellationToken cancellationToken)
    {
        var results = new StoreResult?[instances.Count];
        string? over = null;
        for (var next = 0; next < instances.Count;)
        {
            var (end, contexts) = Plan(instances, next);
            if (over is null)
            {
                try
                {
                    over = await SendAsync(instances, results, next..end, contexts, cancellationToken);
                }
                catch (AssociationException e) when (next > 0)
                {
                    over = e.Message;
                }
            }

            for (; next < end; next++)
            {
                results[next] ??= new(instances[next], StoreOutcome.NotSent, null, over);
            }
        }

        return results!;
    }

    /// <summary>How far one association's contexts reach from an instance, and those contexts.</summary>
    private static (int End, Dictionary<(string SopClass, string TransferSyntax), byte> Contexts) Plan(IReadOnlyList<StoreInstance> instances, int start)
    {
        var contexts = new Dictionary<(string, string), byte>();
        var end = start;
        for (; end < instances.Count; end++)
        {
            // One transfer syntax for each context: the peer cannot choose another one than the data set is in.
            var key = (instances[end].SopClassUid, instances[end].TransferSyntaxUid);
            if (!contexts.ContainsKey(key))
            {
                if (contexts.Count == MaxContexts)
                {
                    break;
                }

                contexts.Add(key, (byte)((contexts.Count * 2) + 1));
            }
        }

        return (end, contexts);
    }

    /// <summary>Sends a range over one association; null, or why it ended early.</summary>
    private async Task<string?> SendAsync(
        IReadOnlyList<StoreInstance> instances,
        StoreResult?[] results,
        Range range,
        Dictionary<(string SopClass, string TransferSyntax), byte> contexts,
        CancellationToken cancellationToken)
    {
        await using var association = await connect(
            new AssociateRequest
            {
                CallingAeTitle = callingAeTitle,
                CalledAeTitle = calledAeTitle,
                PresentationContexts = [.. contexts.Select(c => new PresentationContext(c.Value, c.Key.SopClass, [c.Key.TransferSyntax]))],
            },
            cancellationToken);
        var sending = new Sending(association, instances, results, Answered, MoveOriginator);
        return await sending.RunAsync(range, contexts, cancellationToken);
    }

    /// <summary>An instance that is ready to be sent, and the data set that it reads.</summary>
    private sealed record Ready(OutgoingMessage Message, Stream DataSet) : IAsyncDisposable
    {
        public bool IsLong { get; } = Message.IsLong;

        public async ValueTask DisposeAsync()
        {
            await Message.DisposeAsync();
            await DataSet.DisposeAsync();
        }
    }

    /// <summary>One association's worth: this task sends while another takes the answers.</summary>
    private sealed class Sending(
        Association association,
        IReadOnlyList<StoreInstance> instances,
        StoreResult?[] results,
        Action<StoreResult>? answered,
        (string AeTitle, ushort MessageId)? moveOriginator)
    {
        private readonly Dictionary<ushort, int> _outstanding = [];
        private ushort _messageId;
        private bool _allSent;

        public async Task<string?> RunAsync(
            Range range, Dictionary<(string SopClass, string TransferSyntax), byte> contexts, CancellationToken cancellationToken)
        {
            using var nothingDue = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            var receiving = ReceiveAsync(nothingDue.Token, cancellationToken);
            AssociationException? failure = null;
            Task<Ready?>? next = null;
            try
            {
                var (offset, length) = range.GetOffsetAndLength(instances.Count);
                for (var i = offset; i < offset + length; i++)
                {
                    await using var ready = await (next ?? PrepareAsync(i, contexts, cancellationToken));

                    // The first part of the next one is read while this one goes out, or its place in the window is waited for.
                    var following = i + 1;
                    next = ready is { IsLong: true } && following < offset + length
                        ? Task.Run(() => PrepareAsync(following, contexts, cancellationToken), CancellationToken.None)
                        : null;
                    if (ready is not null)
                    {
                        await SendAsync(ready, cancellationToken);
                    }
                }

                lock (_outstanding)
                {
                    _allSent = true;
                    if (_outstanding.Count == 0)
                    {
                        nothingDue.Cancel();
                    }
                }
            }
            catch (AssociationException e)
            {
                // The receiver knows better why, when the peer said so before it closed.
                failure = e;
            }
            catch
            {
                await association.AbortAsync(CancellationToken.None);
                await ((Task)receiving).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
                throw;
            }
            finally
            {
                await DropAsync(next);
            }

            failure = await receiving ?? failure;
            if (failure is null)
            {
                try
                {
                    await association.ReleaseAsync(cancellationToken);
                    return null;
                }
                catch (AssociationException e)
                {
                    // Every instance was answered; how the association ended does not change that.
                    failure = e;
                }
            }

            foreach (var i in _outstanding.Values)
            {
                results[i] = new(instances[i], StoreOutcome.Unknown, null, failure.Message);
            }

            return failure.Message;
        }

        /// <summary>Makes an instance ready to be sent; null when it cannot be, and its result says why.</summary>
        private async Task<Ready?> PrepareAsync(
            int i, Dictionary<(string SopClass, string TransferSyntax), byte> contexts, CancellationToken cancellationToken)
        {
            var instance = instances[i];
            var contextId = contexts[(instance.SopClassUid, instance.TransferSyntaxUid)];
            if (!association.PresentationContexts.ContainsKey(contextId))
            {
                results[i] = new(
                    instance, StoreOutcome.NotAccepted, null, $"The peer accepted no presentation context for SOP class {instance.SopClassUid} in transfer syntax {instance.TransferSyntaxUid}.");
                return null;
            }

            var id = Begin(i);
            Stream? dataSet = null;
            try
            {
                dataSet = instance.Open();
                var request = CommandSet.StoreRequest(id, instance.SopClassUid, instance.SopInstanceUid);
                if (moveOriginator is { } originator)
                {
                    request.SetString(CommandElement.MoveOriginatorApplicationEntityTitle, originator.AeTitle)
                        .SetUInt16(CommandElement.MoveOriginatorMessageId, originator.MessageId);
                }

                return new Ready(await association.PrepareAsync(contextId, request, dataSet, cancellationToken), dataSet);
            }
            catch (Exception e)
            {
                End(id);
                if (dataSet is not null)
                {
                    await dataSet.DisposeAsync();
                }

                if (e is not (IOException and not AssociationException or UnauthorizedAccessException))
                {
                    throw;
                }

                results[i] = new(instance, StoreOutcome.Unreadable, null, e.Message);
                return null;
            }
        }

        private async Task SendAsync(Ready ready, CancellationToken cancellationToken)
        {
            try
            {
                await association.SendAsync(ready.Message, cancellationToken);
            }
            catch (AssociationException e) when (e.NothingSent)
            {
                End(ready.Message.Command.MessageId);
                throw;
            }
        }

        /// <summary>Gives up what was made ready and is not sent, also when that failed.</summary>
        private async Task DropAsync(Task<Ready?>? next)
        {
            if (next is null)
            {
                return;
            }

            await ((Task)next).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (next.IsCompletedSuccessfully && await next is { } ready)
            {
                End(ready.Message.Command.MessageId);
                await ready.DisposeAsync();
            }
        }

        private void End(ushort id)
        {
            lock (_outstanding)
            {
                _outstanding.Remove(id);
            }
        }

        private ushort Begin(int i)
        {
            lock (_outstanding)
            {
                do
                {
                    _messageId++;
                }
                while (!_outstanding.TryAdd(_messageId, i));
                return _messageId;
            }
        }

        /// <summary>Takes answers until none is due; null, or how the association ended.</summary>
        private async Task<AssociationException?> ReceiveAsync(CancellationToken nothingDue, CancellationToken cancellationToken)
        {
            try
            {
                while (await association.ReceiveAsync(nothingDue) is { } message)
                {
                    if (Answered(message.Command))
                    {
                        return null;
                    }
                }

                await association.AbortAsync(cancellationToken);
                return new(AssociationEnd.ProtocolViolation, "The peer asked for release while it was sent instances.");
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                return null;
            }
            catch (AssociationException e)
            {
                return e;
            }
        }

        /// <summary>Notes an answer; true when it was the last.</summary>
        private bool Answered(CommandSet response)
        {
            lock (_outstanding)
            {
                // The association lets only responses to outstanding messages through; a request of the peer's is not for us.
                if (_outstanding.Remove(response.MessageIdBeingRespondedTo, out var i))
                {
                    var result = new StoreResult(instances[i], StoreOutcome.Answered, response.Status, response.ErrorComment);
                    results[i] = result;
                    answered?.Invoke(result);
                }

                return _allSent && _outstanding.Count == 0;
            }
        }
    }
}
