using Yizhan.Dicom;
using Yizhan.Dicom.Network;

namespace Yizhan.Fuzz.Targets;

/// <summary>A-ASSOCIATE bodies and command sets by themselves: what is decoded is encoded and decoded as the same again.</summary>
internal sealed class CodecTarget : Target
{
    private static readonly byte[][] Seeds = MakeSeeds();

    private readonly Edits _edits = new();

    public override string Name => "codec";

    public override (long Fixed, int PerByte) AllocationBound => (256 * 1024, 400);

    // The first byte says what the rest is: 0 an A-ASSOCIATE-RQ, 1 an A-ASSOCIATE-AC, 2 a command set.
    public override byte[] Make(Chance chance)
    {
        var seed = chance.Of<byte[]>(Seeds);
        for (var n = 1 + chance.Below(2); n > 0; n--)
        {
            _edits.AddBlind(seed, 1, chance);
        }

        return _edits.Apply(seed);
    }

    public override bool Read(byte[] input, int choice)
    {
        if (input.Length == 0)
        {
            return false;
        }

        try
        {
            switch (input[0] % 3)
            {
                case 0:
                    var request = AssociateCodec.DecodeRequest(input.AsSpan(1), 128);
                    Same(AssociateCodec.Encode(request), pdu => AssociateCodec.Encode(AssociateCodec.DecodeRequest(pdu.AsSpan(6), 128)));
                    break;
                case 1:
                    AssociateCodec.DecodeAccept(input.AsSpan(1));
                    break;
                default:
                    var command = CommandSet.Decode(input.AsSpan(1));
                    Same(Encode(command), bytes => Encode(CommandSet.Decode(bytes)));
                    _ = command.ToString();
                    if (!command.IsResponse && command.Field != CommandField.CCancelRequest)
                    {
                        Encode(command.CreateResponse(DimseStatus.ProcessingFailure, command.ErrorComment));
                    }

                    break;
            }

            return true;
        }
        catch (ProtocolViolationException)
        {
            return false;
        }
    }

    private static void Same(byte[] encoded, Func<byte[], byte[]> again)
    {
        if (!again(encoded).AsSpan().SequenceEqual(encoded))
        {
            throw new Finding("What was encoded is decoded as something else");
        }
    }

    private static byte[] Encode(CommandSet command)
    {
        var bytes = new byte[command.EncodedBytes];
        command.Encode(bytes, command.HasDataSet);
        return bytes;
    }

    private static byte[][] MakeSeeds()
    {
        var request = new AssociateRequest
        {
            CallingAeTitle = "PEER",
            CalledAeTitle = "YIZHAN",
            PresentationContexts = [new(1, DicomUids.CtImageStorage, ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"]), new(3, DicomUids.Verification, ["1.2.840.10008.1.2"])],
            OperationsWindow = new(16, 1),
            MaxPduBytes = 16384,
            Roles = [new RoleSelection(DicomUids.CtImageStorage, true, false)],
            ExtendedNegotiations = [new ExtendedNegotiation(DicomUids.CtImageStorage, new byte[] { 1, 2 })],
            UserIdentity = new UserIdentity(1, false, "user"u8.ToArray(), default),
        };
        var accept = new AssociateAccept { PresentationContexts = [new(1, ContextResult.Acceptance, "1.2.840.10008.1.2"), new(3, ContextResult.NoReason, null)] };
        var store = CommandSet.StoreRequest(1, DicomUids.CtImageStorage, "2.25.17");
        return
        [
            [0, .. AssociateCodec.Encode(request).AsSpan(6)],
            [1, .. AssociateCodec.Encode(accept, request).AsSpan(6)],
            [2, .. Encode(store)],
            [2, .. Encode(store.CreateResponse(DimseStatus.ProcessingFailure, "what happened"))],
            [2, .. Encode(CommandSet.EchoRequest(3))],
        ];
    }
}
