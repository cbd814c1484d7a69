using System.Buffers.Binary;
using System.IO.Pipelines;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;

namespace Yizhan.Fuzz.Targets;

/// <summary>
/// The upper layer in both roles: a peer's whole side of an association, PDUs in any number of pieces. The transport runs its continuations in
/// this thread, so an association that is not over when its connection is, would never be.
/// </summary>
internal sealed class AssociationTarget : Target
{
    private const string Ct = DicomUids.CtImageStorage;
    private const string ImplicitLittle = "1.2.840.10008.1.2";

    private static readonly StoppedClock Clock = new();
    private static readonly AssociationOptions Options = new() { MaxDataSetBytes = 1024 * 1024 };
    private static readonly byte[][] Requestor = Conversation(isRequestor: true);
    private static readonly byte[][] Acceptor = Conversation(isRequestor: false);

    private static readonly AssociateRequest Ours = new()
    {
        CallingAeTitle = "YIZHAN",
        CalledAeTitle = "PEER",
        PresentationContexts = [new(1, Ct, [ImplicitLittle]), new(3, DicomUids.Verification, [ImplicitLittle])],
    };

    private readonly Edits _edits = new();

    public override string Name => "association";

    // One A-ASSOCIATE PDU and one command set may be collected before anything is known of the peer.
    public override (long Fixed, int PerByte) AllocationBound => (1024 * 1024, 400);

    public override byte[] Make(Chance chance)
    {
        // The first byte says whose side the rest is: 0 a requestor's, 1 an acceptor's.
        var isAcceptor = chance.OneIn(3);
        var pdus = new List<byte[]>(isAcceptor ? Acceptor : Requestor);
        for (var n = chance.Below(4); n > 0 && pdus.Count > 0; n--)
        {
            var at = chance.Below(pdus.Count);
            switch (chance.Below(5))
            {
                case 0:
                    pdus.RemoveAt(at);
                    break;
                case 1:
                    pdus.Insert(at, pdus[chance.Below(pdus.Count)]);
                    break;
                case 2:
                    var other = chance.Below(pdus.Count);
                    (pdus[at], pdus[other]) = (pdus[other], pdus[at]);
                    break;
                case 3:
                    pdus[at] = ChangeHeader(pdus[at], chance);
                    break;
                default:
                    pdus[at] = ChangeBody(pdus[at], chance);
                    break;
            }
        }

        byte[] bytes = [(byte)(isAcceptor ? 1 : 0), .. pdus.SelectMany(p => p)];
        if (chance.OneIn(3))
        {
            _edits.AddBlind(bytes, 1, chance);
            bytes = _edits.Apply(bytes);
        }

        return bytes;
    }

    public override bool Read(byte[] input, int choice)
    {
        if (input.Length == 0)
        {
            return false;
        }

        var pipe = new Pipe(new PipeOptions(
            pauseWriterThreshold: 0, readerScheduler: PipeScheduler.Inline, writerScheduler: PipeScheduler.Inline, useSynchronizationContext: false));
        var talking = input[0] == 0 ? ServeAsync(pipe.Reader, choice) : AskAsync(pipe.Reader, choice);
        var piece = (choice % 3) switch { 0 => input.Length, 1 => 1 + (choice / 3 % 64), _ => 1000 };
        for (var rest = input.AsMemory(1); !rest.IsEmpty; rest = rest[Math.Min(piece, rest.Length)..])
        {
            Done(pipe.Writer.WriteAsync(rest[..Math.Min(piece, rest.Length)]));
        }

        pipe.Writer.Complete();

        // A cancelled wait may end on the pool's thread; nothing else may still be under way, and that has no reason to take long.
        if (!talking.IsCompleted && !talking.Wait(TimeSpan.FromSeconds(60)))
        {
            throw new Finding("The connection ended and the association did not");
        }

        return talking.GetAwaiter().GetResult();
    }

    private static void Done(ValueTask<FlushResult> write) => _ = write.IsCompletedSuccessfully
        ? write.Result
        : throw new Finding("A pipe without bound did not take bytes");

    /// <summary>Our acceptor, as the gateway has it, with a handler that reads data sets to the end, in part, or not at all.</summary>
    private static async Task<bool> ServeAsync(PipeReader input, int choice)
    {
        try
        {
            await using var association = await Association.AcceptAsync(
                input,
                Stream.Null,
                (request, _) => new(AssociateAnswer.Accept(request, uid => uid.Length > 0 ? new HashSet<string> { ImplicitLittle, "1.2.840.10008.1.2.1" } : null)),
                Options,
                Clock,
                default);
            while (association is not null && await association.ReceiveAsync(default) is { } message)
            {
                var pieces = 0;
                while (message.DataSet is { } dataSet && (choice % 5 != 0 || pieces++ < choice % 7) && await dataSet.ReadAsync(default) is { IsEmpty: false })
                {
                }

                if (!message.Command.IsResponse && message.Command.Field != CommandField.CCancelRequest)
                {
                    await association.SendAsync(message.PresentationContext.Id, message.Command.CreateResponse(DimseStatus.Success), default);
                }
            }

            if (association is not null)
            {
                await association.ReleaseAsync(default);
            }

            return association is not null;
        }
        catch (AssociationException)
        {
            return false;
        }
    }

    /// <summary>Our requestor: C-ECHO, C-STORE, release.</summary>
    private static async Task<bool> AskAsync(PipeReader input, int choice)
    {
        try
        {
            await using var association = await Association.RequestAsync(input, Stream.Null, Ours, Options, Clock, default);
            foreach (var context in association.PresentationContexts.Values.ToArray())
            {
                if (context.AbstractSyntax == Ct)
                {
                    await association.SendAsync(context.Id, CommandSet.StoreRequest(7, Ct, "1.2.3"), new MemoryStream(new byte[choice % 100 * 2]), default);
                }
                else
                {
                    await association.SendAsync(context.Id, CommandSet.EchoRequest(8), default);
                }

                DimseMessage? message;
                do
                {
                    message = await association.ReceiveAsync(default);
                }
                while (message is { Command.IsResponse: false });
                if (message is null)
                {
                    // The peer asks for release; nothing may be sent after that.
                    break;
                }
            }

            await association.ReleaseAsync(default);
            return true;
        }
        catch (AssociationException)
        {
            return false;
        }
    }

    private static byte[] ChangeHeader(byte[] pdu, Chance chance)
    {
        var changed = pdu.ToArray();
        switch (chance.Below(4))
        {
            case 0:
                changed[0] = (byte)chance.Below(10);
                break;
            case 1:
                BinaryPrimitives.WriteUInt32BigEndian(changed.AsSpan(2), chance.Length());
                break;
            case 2:
                BinaryPrimitives.WriteUInt32BigEndian(changed.AsSpan(2), (uint)Math.Max(0, changed.Length - 6 + chance.Below(9) - 4));
                break;
            default:
                changed[1] = (byte)chance.Below(256);
                break;
        }

        return changed;
    }

    /// <summary>What is inside changes and the PDU's length stays right.</summary>
    private byte[] ChangeBody(byte[] pdu, Chance chance)
    {
        if (pdu is [4, ..] && pdu.Length >= 12 && chance.OneIn(2))
        {
            var value = pdu.ToArray();
            switch (chance.Below(3))
            {
                case 0:
                    BinaryPrimitives.WriteUInt32BigEndian(value.AsSpan(6), chance.Length());
                    break;
                case 1:
                    value[10] = (byte)chance.Below(8);
                    break;
                default:
                    value[11] = (byte)chance.Below(5);
                    break;
            }

            return value;
        }

        _edits.AddBlind(pdu, 6, chance);
        var changed = _edits.Apply(pdu);
        if (changed.Length >= 6)
        {
            BinaryPrimitives.WriteUInt32BigEndian(changed.AsSpan(2), (uint)changed.Length - 6);
        }

        return changed;
    }

    private static byte[][] Conversation(bool isRequestor)
    {
        var request = new AssociateRequest
        {
            CallingAeTitle = "PEER",
            CalledAeTitle = "YIZHAN",
            PresentationContexts = [new(1, Ct, [ImplicitLittle, "1.2.840.10008.1.2.4.70"]), new(3, DicomUids.Verification, [ImplicitLittle])],
            OperationsWindow = new(16, 16),
            MaxPduBytes = 16384,
            Roles = [new RoleSelection(Ct, true, true)],
            ExtendedNegotiations = [new ExtendedNegotiation(Ct, new byte[] { 1, 1, 1 })],
            UserIdentity = new UserIdentity(2, true, "user"u8.ToArray(), "word"u8.ToArray()),
        };
        if (!isRequestor)
        {
            return
            [
                AssociateCodec.Encode(
                    new AssociateAccept
                    {
                        PresentationContexts = [new(1, ContextResult.Acceptance, ImplicitLittle), new(3, ContextResult.Acceptance, ImplicitLittle)],
                        MaxPduBytes = 16384,
                        OperationsWindow = new(3, 3),
                    }, request),
                .. Message(1, CommandSet.StoreRequest(7, Ct, "1.2.3").CreateResponse(DimseStatus.Success), []),
                .. Message(3, CommandSet.EchoRequest(8).CreateResponse(DimseStatus.Success), []),
                [6, 0, 0, 0, 0, 4, 0, 0, 0, 0],
            ];
        }

        var find = new CommandSet(CommandField.CFindRequest).SetString(CommandElement.AffectedSopClassUid, Ct).SetUInt16(CommandElement.MessageId, 3);
        return
        [
            AssociateCodec.Encode(request),
            .. Message(3, CommandSet.EchoRequest(1), []),
            .. Message(1, CommandSet.StoreRequest(2, Ct, "1.2.3"), [new byte[60], new byte[200], new byte[4]]),
            .. Message(1, find, [new byte[30]]),
            .. Message(1, CommandSet.StoreRequest(4, Ct, "1.2.4"), [new byte[16]]),
            [5, 0, 0, 0, 0, 4, 0, 0, 0, 0],
        ];
    }

    private static IEnumerable<byte[]> Message(byte context, CommandSet command, IReadOnlyList<byte[]> dataSet)
    {
        var bytes = new byte[command.EncodedBytes];
        command.Encode(bytes, dataSet.Count > 0);
        yield return Data(context, 3, bytes);
        for (var i = 0; i < dataSet.Count; i++)
        {
            yield return Data(context, (byte)(i == dataSet.Count - 1 ? 2 : 0), dataSet[i]);
        }
    }

    private static byte[] Data(byte context, byte control, byte[] value) =>
        [4, 0, .. Edits.UInt32((uint)value.Length + 6, true), .. Edits.UInt32((uint)value.Length + 2, true), context, control, .. value];
}
