using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;

namespace Yizhan.Dicom.Network;

/// <summary>The peer broke the protocol; becomes an A-ABORT and an <see cref="AssociationException"/>.</summary>
internal sealed class ProtocolViolationException(AbortReason reason, string message) : Exception(message)
{
    public AbortReason Reason { get; } = reason;
}

/// <summary>Encodes and decodes the bodies (after the 6-byte header) of the two A-ASSOCIATE PDUs that carry items (PS3.8 §9.3.2, §9.3.3).</summary>
internal static class AssociateCodec
{
    private const int FixedBytes = 68;

    private static readonly SearchValues<byte> UidCharacters = SearchValues.Create("0123456789."u8);

    public static AssociateRequest DecodeRequest(ReadOnlySpan<byte> body, int maxContexts)
    {
        if (body.Length < FixedBytes)
        {
            throw Invalid($"the A-ASSOCIATE-RQ has {body.Length} bytes; its fixed part alone has {FixedBytes}");
        }

        var contexts = new List<PresentationContext>();
        var user = new UserItems();
        var application = "";
        for (var items = new Items(body[FixedBytes..]); items.Next(out var type, out var value);)
        {
            switch (type)
            {
                case 0x10:
                    application = Uid(value);
                    break;
                case 0x20:
                    if (contexts.Count == maxContexts)
                    {
                        throw Invalid($"more than {maxContexts} presentation contexts");
                    }

                    contexts.Add(DecodeProposed(value));
                    break;
                case 0x50:
                    user.Decode(value);
                    break;
            }
        }

        if (contexts.Count == 0 || contexts.DistinctBy(c => c.Id).Count() != contexts.Count)
        {
            throw Invalid("the A-ASSOCIATE-RQ has no presentation context, or the same id twice");
        }

        return new AssociateRequest
        {
            ProtocolVersion = BinaryPrimitives.ReadUInt16BigEndian(body),
            CalledAeTitle = AeTitle(body.Slice(4, 16)),
            CallingAeTitle = AeTitle(body.Slice(20, 16)),
            ApplicationContext = application,
            PresentationContexts = contexts,
            MaxPduBytes = user.MaxPduBytes,
            ImplementationClassUid = user.ClassUid,
            ImplementationVersionName = user.VersionName,
            OperationsWindow = user.Window,
            Roles = user.Roles,
            ExtendedNegotiations = user.Extended,
            UserIdentity = user.Identity,
        };
    }

    public static AssociateAccept DecodeAccept(ReadOnlySpan<byte> body)
    {
        if (body.Length < FixedBytes)
        {
            throw Invalid($"the A-ASSOCIATE-AC has {body.Length} bytes; its fixed part alone has {FixedBytes}");
        }

        var contexts = new List<PresentationContextResult>();
        var user = new UserItems();
        for (var items = new Items(body[FixedBytes..]); items.Next(out var type, out var value);)
        {
            switch (type)
            {
                case 0x21:
                    if (value.Length < 4 || contexts.Count == 128)
                    {
                        throw Invalid("a presentation context of the A-ASSOCIATE-AC is cut short, or there are more than 128");
                    }

                    string? syntax = null;
                    for (var sub = new Items(value[4..]); sub.Next(out var subType, out var subValue);)
                    {
                        // PS3.8 §9.3.3.2: the sub-item is not significant unless the context was accepted; some peers leave it empty.
                        syntax = subType == 0x40 && value[2] == 0 ? Uid(subValue) : syntax;
                    }

                    contexts.Add(new(value[0], (ContextResult)value[2], syntax));
                    break;
                case 0x50:
                    user.Decode(value);
                    break;
            }
        }

        return new AssociateAccept
        {
            PresentationContexts = contexts,
            MaxPduBytes = user.MaxPduBytes,
            ImplementationClassUid = user.ClassUid,
            ImplementationVersionName = user.VersionName,
            OperationsWindow = user.Window,
            Roles = user.Roles,
            ExtendedNegotiations = user.Extended,
        };
    }

    /// <summary>A whole A-ASSOCIATE-RQ PDU with its header.</summary>
    public static byte[] Encode(AssociateRequest request)
    {
        var pdu = new ItemWriter(PduType.AssociateRequest);
        WriteFixed(pdu, request.CalledAeTitle, request.CallingAeTitle, request.ProtocolVersion);
        pdu.Text(0x10, request.ApplicationContext);
        foreach (var context in request.PresentationContexts)
        {
            using (pdu.Item(0x20))
            {
                pdu.Bytes([context.Id, 0, 0, 0]);
                pdu.Text(0x30, context.AbstractSyntax);
                foreach (var syntax in context.TransferSyntaxes)
                {
                    pdu.Text(0x40, syntax);
                }
            }
        }

        WriteUser(pdu, request, request.UserIdentity);
        return pdu.ToPdu();
    }

    /// <summary>A whole A-ASSOCIATE-AC PDU with its header.</summary>
    public static byte[] Encode(AssociateAccept accept, AssociateRequest request)
    {
        var pdu = new ItemWriter(PduType.AssociateAccept);
        WriteFixed(pdu, request.CalledAeTitle, request.CallingAeTitle, version: 1);
        pdu.Text(0x10, Implementation.ApplicationContext);
        foreach (var context in accept.PresentationContexts)
        {
            using (pdu.Item(0x21))
            {
                pdu.Bytes([context.Id, 0, (byte)context.Result, 0]);
                pdu.Text(0x40, context.TransferSyntax ?? "");
            }
        }

        WriteUser(pdu, accept, identity: null);
        return pdu.ToPdu();
    }

    private static PresentationContext DecodeProposed(ReadOnlySpan<byte> value)
    {
        if (value.Length < 4 || value[0] % 2 == 0)
        {
            throw Invalid("a presentation context is cut short or its id is even");
        }

        string? abstractSyntax = null;
        var transferSyntaxes = new List<string>();
        for (var sub = new Items(value[4..]); sub.Next(out var type, out var text);)
        {
            switch (type)
            {
                case 0x30:
                    abstractSyntax = Uid(text);
                    break;
                case 0x40:
                    transferSyntaxes.Add(Uid(text));
                    break;
            }
        }

        return abstractSyntax is null || transferSyntaxes.Count == 0
            ? throw Invalid($"presentation context {value[0]} lacks its abstract syntax or its transfer syntaxes")
            : new(value[0], abstractSyntax, transferSyntaxes);
    }

    private static void WriteFixed(ItemWriter pdu, string called, string calling, ushort version)
    {
        pdu.UInt16(version);
        pdu.UInt16(0);
        pdu.Bytes(Encoding.ASCII.GetBytes(called.PadRight(16)));
        pdu.Bytes(Encoding.ASCII.GetBytes(calling.PadRight(16)));
        pdu.Bytes(new byte[32]);
    }

    private static void WriteUser(ItemWriter pdu, UserInformation user, UserIdentity? identity)
    {
        using var item = pdu.Item(0x50);
        using (pdu.Item(0x51))
        {
            pdu.UInt32(user.MaxPduBytes);
        }

        pdu.Text(0x52, user.ImplementationClassUid);
        if (user.OperationsWindow is { } window)
        {
            using (pdu.Item(0x53))
            {
                pdu.UInt16(window.Invoked);
                pdu.UInt16(window.Performed);
            }
        }

        foreach (var role in user.Roles)
        {
            using (pdu.Item(0x54))
            {
                pdu.Counted(Encoding.ASCII.GetBytes(role.SopClassUid));
                pdu.Bytes([role.Scu ? (byte)1 : (byte)0, role.Scp ? (byte)1 : (byte)0]);
            }
        }

        if (user.ImplementationVersionName is { } version)
        {
            pdu.Text(0x55, version);
        }

        foreach (var extended in user.ExtendedNegotiations)
        {
            using (pdu.Item(0x56))
            {
                pdu.Counted(Encoding.ASCII.GetBytes(extended.SopClassUid));
                pdu.Bytes(extended.Information.Span);
            }
        }

        if (identity is not null)
        {
            using (pdu.Item(0x58))
            {
                pdu.Bytes([identity.Type, identity.PositiveResponseRequested ? (byte)1 : (byte)0]);
                pdu.Counted(identity.Primary.Span);
                pdu.Counted(identity.Secondary.Span);
            }
        }
    }

    /// <summary>A UID without its padding. Other characters than digits and dots would be a way into logs and paths.</summary>
    private static string Uid(ReadOnlySpan<byte> value)
    {
        value = value.TrimEnd("\0 "u8);
        return value.Length is > 0 and <= 64 && !value.ContainsAnyExcept(UidCharacters)
            ? Encoding.ASCII.GetString(value)
            : throw Invalid($"a UID of {value.Length} bytes that is empty, too long or has other characters than digits and dots");
    }

    private static string AeTitle(ReadOnlySpan<byte> value)
    {
        value = value.TrimEnd("\0 "u8).TrimStart((byte)' ');
        return value.Length > 0 && !value.ContainsAnyExceptInRange((byte)0x20, (byte)0x7E) && !value.Contains((byte)'\\')
            ? Encoding.ASCII.GetString(value)
            : throw Invalid("an AE title that is empty or has characters outside the default repertoire (PS3.5 §6.2)");
    }

    private static ProtocolViolationException Invalid(string what) => new(AbortReason.InvalidPduParameter, what);

    /// <summary>The sub-items of the user information item. Unknown ones are ignored (PS3.8 §9.3.2.3).</summary>
    private sealed class UserItems
    {
        public uint MaxPduBytes { get; private set; }

        public string ClassUid { get; private set; } = "";

        public string? VersionName { get; private set; }

        public OperationsWindow? Window { get; private set; }

        public List<RoleSelection> Roles { get; } = [];

        public List<ExtendedNegotiation> Extended { get; } = [];

        public UserIdentity? Identity { get; private set; }

        public void Decode(ReadOnlySpan<byte> value)
        {
            for (var items = new Items(value); items.Next(out var type, out var item);)
            {
                switch (type)
                {
                    case 0x51:
                        MaxPduBytes = item.Length == 4 ? BinaryPrimitives.ReadUInt32BigEndian(item) : throw Invalid("a maximum length item without 4 bytes");
                        break;
                    case 0x52:
                        ClassUid = Uid(item);
                        break;
                    case 0x53:
                        Window = item.Length == 4
                            ? new(BinaryPrimitives.ReadUInt16BigEndian(item), BinaryPrimitives.ReadUInt16BigEndian(item[2..]))
                            : throw Invalid("an asynchronous operations window item without 4 bytes");
                        break;
                    case 0x54:
                        var roleUid = Uid(Counted(ref item));
                        Roles.Add(item.Length == 2 ? new(roleUid, item[0] == 1, item[1] == 1) : throw Invalid("a role selection item of wrong length"));
                        break;
                    case 0x55:
                        item = item.TrimEnd("\0 "u8);
                        VersionName = item.Length <= 16 && !item.ContainsAnyExceptInRange((byte)0x20, (byte)0x7E)
                            ? Encoding.ASCII.GetString(item)
                            : throw Invalid("an implementation version name of more than 16 characters or outside the default repertoire");
                        break;
                    case 0x56:
                        var extendedUid = Uid(Counted(ref item));
                        Extended.Add(new(extendedUid, item.ToArray()));
                        break;
                    case 0x58:
                        if (item.Length < 6)
                        {
                            throw Invalid("a user identity item that is cut short");
                        }

                        var (identityType, respond) = (item[0], item[1] == 1);
                        item = item[2..];
                        var primary = Counted(ref item).ToArray();
                        Identity = new(identityType, respond, primary, Counted(ref item).ToArray());
                        break;
                }
            }
        }

        private static ReadOnlySpan<byte> Counted(ref ReadOnlySpan<byte> item)
        {
            if (item.Length < 2 || BinaryPrimitives.ReadUInt16BigEndian(item) is var length && length > item.Length - 2)
            {
                throw Invalid("a sub-item whose length goes past its item");
            }

            var value = item.Slice(2, length);
            item = item[(2 + length)..];
            return value;
        }
    }

    /// <summary>Walks items of type, reserved byte, 16-bit length, value. Nothing recurses: the depth is fixed by the standard.</summary>
    private ref struct Items(ReadOnlySpan<byte> rest)
    {
        private ReadOnlySpan<byte> _rest = rest;

        public bool Next(out byte type, out ReadOnlySpan<byte> value)
        {
            type = 0;
            value = default;
            if (_rest.IsEmpty)
            {
                return false;
            }

            if (_rest.Length < 4 || BinaryPrimitives.ReadUInt16BigEndian(_rest[2..]) is var length && length > _rest.Length - 4)
            {
                throw Invalid($"an item of type 0x{_rest[0]:X2} whose length goes past the end");
            }

            type = _rest[0];
            value = _rest.Slice(4, length);
            _rest = _rest[(4 + length)..];
            return true;
        }
    }

    /// <summary>Writes nested items; an item's length is filled in when it is disposed.</summary>
    private sealed class ItemWriter
    {
        private readonly List<byte> _pdu = [];

        public ItemWriter(PduType type) => Bytes([(byte)type, 0, 0, 0, 0, 0]);

        public void Bytes(ReadOnlySpan<byte> bytes) => _pdu.AddRange(bytes);

        public void UInt16(ushort value) => Bytes([(byte)(value >> 8), (byte)value]);

        public void UInt32(uint value)
        {
            UInt16((ushort)(value >> 16));
            UInt16((ushort)value);
        }

        public void Counted(ReadOnlySpan<byte> bytes)
        {
            UInt16(checked((ushort)bytes.Length));
            Bytes(bytes);
        }

        public void Text(byte type, string text)
        {
            using var item = Item(type);
            Bytes(Encoding.ASCII.GetBytes(text));
        }

        public OpenItem Item(byte type)
        {
            Bytes([type, 0, 0, 0]);
            return new(this, _pdu.Count);
        }

        public byte[] ToPdu()
        {
            var pdu = _pdu.ToArray();
            BinaryPrimitives.WriteUInt32BigEndian(pdu.AsSpan(2), (uint)pdu.Length - 6);
            return pdu;
        }

        public readonly struct OpenItem(ItemWriter writer, int start) : IDisposable
        {
            public void Dispose()
            {
                var length = checked((ushort)(writer._pdu.Count - start));
                BinaryPrimitives.WriteUInt16BigEndian(CollectionsMarshal.AsSpan(writer._pdu)[(start - 2)..], length);
            }
        }
    }
}
