using System.Buffers.Binary;
using System.Text;

namespace Yizhan.Dicom.Network;

/// <summary>
/// A DIMSE command set (PS3.7 §6.3.1, Annex E): the elements of group 0000, implicit VR little endian. The group length and the
/// command data set type belong to the encoder; nobody sets them.
/// </summary>
public sealed partial class CommandSet
{
    private readonly SortedList<CommandElement, byte[]> _elements = [];

    /// <summary>A new command set.</summary>
    public CommandSet(CommandField field) => SetUInt16(CommandElement.CommandField, (ushort)field);

    private CommandSet()
    {
    }

    /// <summary>Which operation this is.</summary>
    public CommandField Field => (CommandField)(GetUInt16(CommandElement.CommandField) ?? 0);

    /// <summary>True for a response (bit 15 of the command field).</summary>
    public bool IsResponse => ((ushort)Field & 0x8000) != 0;

    /// <summary>True when the sender of a received command set announced a data set.</summary>
    public bool HasDataSet => GetUInt16(CommandElement.CommandDataSetType) is { } type && type != NoDataSet;

    /// <summary>Message ID of a request; 0 when absent.</summary>
    public ushort MessageId => GetUInt16(CommandElement.MessageId) ?? 0;

    /// <summary>The request's message ID in a response or C-CANCEL; 0 when absent.</summary>
    public ushort MessageIdBeingRespondedTo => GetUInt16(CommandElement.MessageIdBeingRespondedTo) ?? 0;

    /// <summary>Status of a response; 0 when absent. See <see cref="DimseStatus"/>.</summary>
    public ushort Status => GetUInt16(CommandElement.Status) ?? 0;

    /// <summary>The SOP class: affected or, for N-GET/SET/ACTION/DELETE, requested; null when absent.</summary>
    public string? SopClassUid => GetString(CommandElement.AffectedSopClassUid) ?? GetString(CommandElement.RequestedSopClassUid);

    /// <summary>The SOP instance: affected or requested; null when absent.</summary>
    public string? SopInstanceUid => GetString(CommandElement.AffectedSopInstanceUid) ?? GetString(CommandElement.RequestedSopInstanceUid);

    /// <summary>Error comment of a response, at most 64 characters; null when absent.</summary>
    public string? ErrorComment => GetString(CommandElement.ErrorComment);

    /// <summary>C-ECHO-RQ (PS3.7 §9.3.5.1).</summary>
    public static CommandSet EchoRequest(ushort messageId) => new CommandSet(CommandField.CEchoRequest)
        .SetString(CommandElement.AffectedSopClassUid, "1.2.840.10008.1.1")
        .SetUInt16(CommandElement.MessageId, messageId);

    /// <summary>C-STORE-RQ (PS3.7 §9.3.1.1), medium priority.</summary>
    public static CommandSet StoreRequest(ushort messageId, string sopClassUid, string sopInstanceUid) => new CommandSet(CommandField.CStoreRequest)
        .SetString(CommandElement.AffectedSopClassUid, sopClassUid)
        .SetUInt16(CommandElement.MessageId, messageId)
        .SetUInt16(CommandElement.Priority, 0)
        .SetString(CommandElement.AffectedSopInstanceUid, sopInstanceUid);

    /// <summary>The response to this request: same operation, SOP class and instance, this status.</summary>
    /// <param name="status">See <see cref="DimseStatus"/>.</param>
    /// <param name="errorComment">Cut to 64 characters of the default repertoire. Never put patient data here.</param>
    /// <exception cref="InvalidOperationException">This is a response or a C-CANCEL, which have none.</exception>
    public CommandSet CreateResponse(ushort status, string? errorComment = null)
    {
        if (IsResponse || Field == CommandField.CCancelRequest)
        {
            throw new InvalidOperationException($"{Field} has no response.");
        }

        var response = new CommandSet((CommandField)((ushort)Field | 0x8000))
            .SetUInt16(CommandElement.MessageIdBeingRespondedTo, MessageId)
            .SetUInt16(CommandElement.Status, status);
        if (SopClassUid is { } sopClass)
        {
            response.SetString(CommandElement.AffectedSopClassUid, sopClass);
        }

        if (SopInstanceUid is { } instance)
        {
            response.SetString(CommandElement.AffectedSopInstanceUid, instance);
        }

        if (errorComment is not null)
        {
            response.SetString(CommandElement.ErrorComment, errorComment.Length > 64 ? errorComment[..64] : errorComment);
        }

        return response;
    }

    /// <summary>The value of a US element; null when it is absent or has not 2 bytes.</summary>
    public ushort? GetUInt16(CommandElement element) =>
        _elements.TryGetValue(element, out var value) && value.Length == 2 ? BinaryPrimitives.ReadUInt16LittleEndian(value) : null;

    /// <summary>The value of a text or UID element without its padding; null when absent.</summary>
    public string? GetString(CommandElement element) =>
        _elements.TryGetValue(element, out var value) ? Encoding.Latin1.GetString(value.AsSpan().Trim("\0 "u8)) : null;

    /// <summary>The value of any element as sent; null when absent.</summary>
    public ReadOnlyMemory<byte>? GetBytes(CommandElement element) => _elements.TryGetValue(element, out var value) ? value : null;

    /// <summary>Sets a US element; returns this.</summary>
    public CommandSet SetUInt16(CommandElement element, ushort value)
    {
        _elements[element] = [(byte)value, (byte)(value >> 8)];
        return this;
    }

    /// <summary>Sets a UI, AE or LO element, padded to even length (UIDs with NUL, others with a space; PS3.5 §6.2); returns this.</summary>
    public CommandSet SetString(CommandElement element, string value)
    {
        var bytes = new byte[(value.Length + 1) & ~1];
        Encoding.ASCII.GetBytes(value, bytes);
        if (value.Length % 2 != 0 && element is not (CommandElement.AffectedSopClassUid or CommandElement.RequestedSopClassUid
            or CommandElement.AffectedSopInstanceUid or CommandElement.RequestedSopInstanceUid))
        {
            bytes[^1] = (byte)' ';
        }

        _elements[element] = bytes;
        return this;
    }

    /// <summary>Sets any element to bytes of even length; returns this.</summary>
    public CommandSet SetBytes(CommandElement element, ReadOnlySpan<byte> value)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(value.Length % 2, 0);
        _elements[element] = value.ToArray();
        return this;
    }

    /// <inheritdoc/>
    public override string ToString() => IsResponse
        ? $"{Field} to message {MessageIdBeingRespondedTo}, status 0x{Status:X4}"
        : $"{Field} message {MessageId}";

    internal const ushort NoDataSet = 0x0101;

    internal int EncodedBytes
    {
        get
        {
            var bytes = 12 + (_elements.ContainsKey(CommandElement.CommandDataSetType) ? 0 : 10);
            foreach (var value in _elements.Values)
            {
                bytes += 8 + value.Length;
            }

            return bytes;
        }
    }

    /// <summary>Writes the command set with its group length and data set type, into exactly <see cref="EncodedBytes"/> bytes.</summary>
    internal void Encode(Span<byte> target, bool hasDataSet)
    {
        var typeWritten = false;
        var groupLength = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(groupLength, target.Length - 12);
        Write(ref target, 0, groupLength);
        foreach (var (element, value) in _elements)
        {
            if (!typeWritten && element >= CommandElement.CommandDataSetType)
            {
                typeWritten = true;
                Write(ref target, CommandElement.CommandDataSetType, hasDataSet ? [1, 0] : [1, 1]);
            }

            if (element != CommandElement.CommandDataSetType)
            {
                Write(ref target, element, value);
            }
        }

        if (!typeWritten)
        {
            Write(ref target, CommandElement.CommandDataSetType, hasDataSet ? [1, 0] : [1, 1]);
        }

        static void Write(ref Span<byte> target, CommandElement element, ReadOnlySpan<byte> value)
        {
            BinaryPrimitives.WriteUInt16LittleEndian(target, 0);
            BinaryPrimitives.WriteUInt16LittleEndian(target[2..], (ushort)element);
            BinaryPrimitives.WriteInt32LittleEndian(target[4..], value.Length);
            value.CopyTo(target[8..]);
            target = target[(8 + value.Length)..];
        }
    }

    /// <summary>Reads a received command set and checks what every message must have.</summary>
    /// <exception cref="ProtocolViolationException">It is not one.</exception>
    internal static CommandSet Decode(ReadOnlySpan<byte> bytes)
    {
        var command = new CommandSet();
        var last = -1;
        while (!bytes.IsEmpty)
        {
            if (bytes.Length < 8)
            {
                throw Invalid($"{bytes.Length} bytes are left where an element has at least 8");
            }

            var group = BinaryPrimitives.ReadUInt16LittleEndian(bytes);
            var element = BinaryPrimitives.ReadUInt16LittleEndian(bytes[2..]);
            var length = BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]);
            if (group != 0 || element <= last || length > bytes.Length - 8)
            {
                throw Invalid($"element ({group:X4},{element:X4}) of {length} bytes is out of order, of another group or goes past the end");
            }

            last = element;
            if (element != 0)
            {
                command._elements.Add((CommandElement)element, bytes.Slice(8, (int)length).ToArray());
            }

            bytes = bytes[(8 + (int)length)..];
        }

        Require(CommandElement.CommandField);
        Require(CommandElement.CommandDataSetType);
        if (command.IsResponse)
        {
            Require(CommandElement.MessageIdBeingRespondedTo);
            Require(CommandElement.Status);
        }
        else
        {
            Require(command.Field == CommandField.CCancelRequest ? CommandElement.MessageIdBeingRespondedTo : CommandElement.MessageId);
        }

        return command;

        void Require(CommandElement element)
        {
            if (command.GetUInt16(element) is null)
            {
                throw Invalid($"{element} is missing or has not 2 bytes");
            }
        }

        static ProtocolViolationException Invalid(string what) => new(AbortReason.InvalidPduParameter, "command set: " + what);
    }
}
