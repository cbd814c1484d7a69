using System.IO.Pipelines;

namespace Yizhan.Dicom.Network;

public sealed partial class Association
{
    private readonly Dictionary<byte, AcceptedContext> _contexts = [];

    /// <summary>
    /// Acceptor (SCP): waits for the A-ASSOCIATE-RQ on a fresh connection and answers it.
    /// </summary>
    /// <param name="input">The connection's bytes; large reads pay (<c>PipeReader.Create(stream, new(bufferSize: 256 * 1024))</c>). Owned from now on.</param>
    /// <param name="output">The connection, unbuffered, with no-delay set. Owned from now on; disposing it must close the connection.</param>
    /// <param name="decide">Accepts or rejects, and answers each presentation context.</param>
    /// <param name="options">Limits.</param>
    /// <param name="clock">For ARTIM and the other timers.</param>
    /// <param name="cancellationToken">Gives up; the connection is closed.</param>
    /// <returns>The association, or null when <paramref name="decide"/> rejected it; then the connection is already closed.</returns>
    /// <exception cref="AssociationException">The peer did something else than asking for an association; the connection is already closed.</exception>
    public static async Task<Association?> AcceptAsync(
        PipeReader input,
        Stream output,
        Func<AssociateRequest, CancellationToken, ValueTask<AssociateAnswer>> decide,
        AssociationOptions options,
        TimeProvider clock,
        CancellationToken cancellationToken)
    {
        var association = new Association(input, output, isRequestor: false, options, clock) { _state = State.AwaitingRequest };
        try
        {
            if (await association.AcceptAsync(decide, cancellationToken))
            {
                return association;
            }
        }
        catch (Exception e) when (IsPeerFault(e))
        {
            var failure = await association.FailAsync(e);
            await association.DisposeAsync();
            throw failure;
        }
        catch
        {
            await association.DisposeAsync();
            throw;
        }

        await association.DisposeAsync();
        return null;
    }

    /// <summary>Requestor (SCU): proposes an association on a fresh connection.</summary>
    /// <param name="input">The connection's bytes. Owned from now on.</param>
    /// <param name="output">The connection, unbuffered, with no-delay set. Owned from now on; disposing it must close the connection.</param>
    /// <param name="request">Titles and presentation contexts; our limits are added from <paramref name="options"/>.</param>
    /// <param name="options">Limits.</param>
    /// <param name="clock">For the timers.</param>
    /// <param name="cancellationToken">Gives up; the connection is closed.</param>
    /// <returns>The association. It may have no accepted presentation context.</returns>
    /// <exception cref="AssociationException">Rejected, aborted, timed out or lost; the connection is already closed.</exception>
    /// <exception cref="ArgumentException">A title, id or UID of the request cannot be sent.</exception>
    public static async Task<Association> RequestAsync(
        PipeReader input, Stream output, AssociateRequest request, AssociationOptions options, TimeProvider clock, CancellationToken cancellationToken)
    {
        var association = new Association(input, output, isRequestor: true, options, clock) { _state = State.AwaitingAnswer };
        try
        {
            await association.RequestAsync(request, cancellationToken);
            return association;
        }
        catch (Exception e) when (IsPeerFault(e))
        {
            var failure = await association.FailAsync(e);
            await association.DisposeAsync();
            throw failure;
        }
        catch
        {
            await association.DisposeAsync();
            throw;
        }
    }

    private async Task<bool> AcceptAsync(Func<AssociateRequest, CancellationToken, ValueTask<AssociateAnswer>> decide, CancellationToken cancellationToken)
    {
        _reader.StartClock(_options.Artim);
        var (type, length) = await _reader.ReadHeaderAsync(cancellationToken) ?? throw new EndOfStreamException("It was closed before an A-ASSOCIATE-RQ.");
        if (type == PduType.Abort)
        {
            throw await ReceivedAbortAsync(length, cancellationToken);
        }

        if (type != PduType.AssociateRequest || length > _options.MaxAssociateBytes)
        {
            throw new ProtocolViolationException(
                AbortReason.UnexpectedPdu, $"a PDU of type 0x{(byte)type:X2} and {length} bytes came where an A-ASSOCIATE-RQ of at most {_options.MaxAssociateBytes} bytes is expected");
        }

        var request = Request = AssociateCodec.DecodeRequest(await _reader.ReadBodyAsync(length, cancellationToken), _options.MaxPresentationContexts);
        var answer = (request.ProtocolVersion & 1) == 0 ? AssociateAnswer.Reject(RejectReason.ProtocolVersionNotSupported, transient: false)
            : request.ApplicationContext != Implementation.ApplicationContext ? AssociateAnswer.Reject(RejectReason.ApplicationContextNotSupported, transient: false)
            : await decide(request, cancellationToken);
        if (answer.Rejection is { } rejection)
        {
            var code = (int)rejection.Reason;
            await WritePduAsync(new byte[] { (byte)PduType.AssociateReject, 0, 0, 0, 0, 4, 0, rejection.Transient ? (byte)2 : (byte)1, (byte)(code >> 8), (byte)code }, cancellationToken);
            _state = State.AwaitingClose;
            return false;
        }

        SetSendPdu(request.MaxPduBytes);
        var results = Answer(request, answer);
        var window = request.OperationsWindow is { } asked ? new OperationsWindow(Bound(asked.Invoked), Bound(asked.Performed)) : (OperationsWindow?)null;
        Acceptance = new AssociateAccept
        {
            PresentationContexts = results,
            MaxPduBytes = (uint)_options.MaxPduBytes,
            OperationsWindow = window,
            Roles = answer.Roles,
            ExtendedNegotiations = answer.ExtendedNegotiations,
        };
        Agree(performed: window?.Invoked ?? 1, invoked: window?.Performed ?? 1);
        await WritePduAsync(AssociateCodec.Encode(Acceptance, request), cancellationToken);
        _state = State.Established;
        return true;
    }

    private List<PresentationContextResult> Answer(AssociateRequest request, AssociateAnswer answer)
    {
        var results = new List<PresentationContextResult>(request.PresentationContexts.Count);
        foreach (var proposed in request.PresentationContexts)
        {
            var result = answer.Contexts.FirstOrDefault(c => c.Id == proposed.Id) ?? new(proposed.Id, ContextResult.AbstractSyntaxNotSupported, null);
            if (result.Result == ContextResult.Acceptance)
            {
                if (result.TransferSyntax is not { } syntax || !proposed.TransferSyntaxes.Contains(syntax))
                {
                    throw new ArgumentException($"Context {proposed.Id} was accepted with transfer syntax {result.TransferSyntax ?? "(none)"}, which was not proposed.");
                }

                _contexts.Add(proposed.Id, new(proposed.Id, proposed.AbstractSyntax, syntax));
            }

            // Not significant for a refused context, but some requestors insist on a transfer syntax sub-item.
            results.Add(result with { TransferSyntax = result.TransferSyntax ?? proposed.TransferSyntaxes[0] });
        }

        return results;
    }

    private async Task RequestAsync(AssociateRequest template, CancellationToken cancellationToken)
    {
        CheckTitle(template.CalledAeTitle);
        CheckTitle(template.CallingAeTitle);
        if (template.PresentationContexts.Count is 0 or > 128
            || template.PresentationContexts.Any(c => c.Id % 2 == 0 || c.TransferSyntaxes.Count == 0)
            || template.PresentationContexts.DistinctBy(c => c.Id).Count() != template.PresentationContexts.Count)
        {
            throw new ArgumentException("A request has 1 to 128 presentation contexts with different odd ids and at least one transfer syntax each.");
        }

        var operations = (ushort)_options.MaxOperations;
        var request = Request = template with
        {
            MaxPduBytes = (uint)_options.MaxPduBytes,
            OperationsWindow = operations > 1 ? new(operations, operations) : null,
        };
        await WritePduAsync(AssociateCodec.Encode(request), cancellationToken);

        _reader.StartClock(_options.Artim);
        var (type, length) = await _reader.ReadHeaderAsync(cancellationToken) ?? throw new EndOfStreamException("It was closed before an answer to the A-ASSOCIATE-RQ.");
        switch (type)
        {
            case PduType.AssociateAccept when length <= _options.MaxAssociateBytes:
                Agree(request, AssociateCodec.DecodeAccept(await _reader.ReadBodyAsync(length, cancellationToken)));
                _state = State.Established;
                return;
            case PduType.AssociateReject when length == 4:
                var body = await _reader.ReadBodyAsync(length, cancellationToken);
                var rejection = new Rejection((RejectReason)((body[2] << 8) | body[3]), Transient: body[1] == 2);
                throw await FailAsync(
                    new(AssociationEnd.Rejected, $"{request.CalledAeTitle} rejected the association: {rejection}.") { Rejection = rejection }, null, cancellationToken);
            case PduType.Abort:
                throw await ReceivedAbortAsync(length, cancellationToken);
            default:
                throw UnexpectedPdu(type, length);
        }
    }

    private void Agree(AssociateRequest request, AssociateAccept accept)
    {
        var proposed = request.PresentationContexts.ToDictionary(c => c.Id);
        foreach (var result in accept.PresentationContexts)
        {
            if (!proposed.Remove(result.Id, out var context)
                || (result.Result == ContextResult.Acceptance && (result.TransferSyntax is null || !context.TransferSyntaxes.Contains(result.TransferSyntax))))
            {
                throw new ProtocolViolationException(
                    AbortReason.InvalidPduParameter, $"context {result.Id} was answered with transfer syntax {result.TransferSyntax ?? "(none)"}, which was not proposed for it");
            }

            if (result.Result == ContextResult.Acceptance)
            {
                _contexts.Add(result.Id, new(result.Id, context.AbstractSyntax, result.TransferSyntax!));
            }
        }

        SetSendPdu(accept.MaxPduBytes);
        Acceptance = accept;

        // The acceptor may lower what we asked for, never raise it.
        var window = request.OperationsWindow is not null && accept.OperationsWindow is { } answered
            ? new OperationsWindow(Bound(answered.Invoked), Bound(answered.Performed))
            : new(1, 1);
        Agree(performed: window.Performed, invoked: window.Invoked);
    }

    private void Agree(int performed, int invoked)
    {
        PerformWindow = performed;
        InvokeWindow = invoked;
        _performSlots = new(performed);
        _invokeSlots = new(invoked);
    }

    /// <summary>0 asks for no limit; ours is the limit then.</summary>
    private ushort Bound(ushort asked) => (ushort)(asked == 0 ? _options.MaxOperations : Math.Min(asked, _options.MaxOperations));

    private void SetSendPdu(uint offered)
    {
        // A PDU spends 12 bytes on headers; a peer that wants less than 64 would make each byte of a study cost many.
        if (offered is > 0 and < 64)
        {
            throw new ProtocolViolationException(AbortReason.InvalidPduParameter, $"a maximum PDU length of {offered} bytes leaves no room for data");
        }

        SendPduBytes = offered == 0 ? _options.MaxSendPduBytes : (int)Math.Min(offered, (uint)_options.MaxSendPduBytes);
    }

    private static void CheckTitle(string title)
    {
        if (title.Length is 0 or > 16 || string.IsNullOrWhiteSpace(title) || title.Any(c => c is < ' ' or > '~' or '\\'))
        {
            throw new ArgumentException($"AE title \"{title}\" is not 1 to 16 characters of the default repertoire.");
        }
    }

    private static ProtocolViolationException UnexpectedPdu(PduType type, uint length) =>
        type is >= PduType.AssociateRequest and <= PduType.Abort
            ? new(AbortReason.UnexpectedPdu, $"a PDU of type 0x{(byte)type:X2} and {length} bytes is not expected now")
            : new(AbortReason.UnrecognizedPdu, $"a PDU of type 0x{(byte)type:X2} is not of this protocol");
}
