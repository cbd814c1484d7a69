using System.Buffers.Binary;
using System.Formats.Asn1;
using System.Numerics;
using System.Security.Cryptography;
using System.Text;

namespace Yizhan.Snmp;

/// <summary>A value of a device's table.</summary>
/// <param name="Oid">Object identifier in dots.</param>
/// <param name="Text">The value as text; bytes that are no text as hexadecimal; null when the device has none there.</param>
/// <param name="Bytes">The octets of an OCTET STRING; empty for other types.</param>
public sealed record SnmpValue(string Oid, string? Text, ReadOnlyMemory<byte> Bytes);

/// <summary>The device refused or answered what cannot be trusted.</summary>
public sealed class SnmpException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>
/// One conversation with one engine. First <see cref="Discovery"/> is sent and its answer given to <see cref="Read"/>; from then on requests are signed and encrypted.
/// </summary>
public sealed class SnmpSession(UsmUser user)
{
    private const int MaxMessage = 65_507;

    // RFC 3414 §2.2.3: how far an engine's clock may be from what we think, in seconds.
    private const int Window = 150;

    private static readonly Asn1Tag Get = new(TagClass.ContextSpecific, 0, true);
    private static readonly Asn1Tag GetNext = new(TagClass.ContextSpecific, 1, true);
    private static readonly Asn1Tag Response = new(TagClass.ContextSpecific, 2, true);
    private static readonly Asn1Tag Report = new(TagClass.ContextSpecific, 8, true);

    private byte[] _engine = [];
    private byte[] _authenticationKey = [];
    private byte[] _privacyKey = [];
    private int _boots;
    private int _time;
    private int _requestId = RandomNumberGenerator.GetInt32(1, int.MaxValue / 2);
    private long _salt = BitConverter.ToInt64(RandomNumberGenerator.GetBytes(8));

    /// <summary>The engine's id once it is known; it is unique (RFC 3411 §5), so it names the device.</summary>
    public ReadOnlyMemory<byte> EngineId => _engine;

    /// <summary>Asks who the engine is and what time it has.</summary>
    public byte[] Discovery()
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            WriteHeader(writer, flags: 4);
            writer.WriteOctetString(SecurityParameters([], 0, 0, "", [], []));
            WriteScoped(writer, Get, []);
        }

        return writer.Encode();
    }

    /// <summary>Asks for values.</summary>
    public byte[] GetRequest(params IReadOnlyList<string> oids) => Request(Get, oids);

    /// <summary>Asks for what follows each of some identifiers.</summary>
    public byte[] GetNextRequest(params IReadOnlyList<string> oids) => Request(GetNext, oids);

    /// <summary>Reads an answer.</summary>
    /// <returns>Values; null when it was a report from which engine or time were learnt: send the request again, made anew.</returns>
    /// <exception cref="SnmpException">It is not an answer to the last request, is not signed by the user, or says that the request failed.</exception>
    public IReadOnlyList<SnmpValue>? Read(ReadOnlyMemory<byte> message)
    {
        try
        {
            return ReadMessage(message);
        }
        catch (Exception e) when (e is AsnContentException or CryptographicException or OverflowException)
        {
            throw new SnmpException($"The answer is no SNMPv3 message: {e.Message}", e);
        }
    }

    private byte[] Request(Asn1Tag kind, IReadOnlyList<string> oids)
    {
        if (_engine.Length == 0)
        {
            throw new InvalidOperationException("The engine is not known yet: send Discovery first.");
        }

        _requestId++;
        var scoped = new AsnWriter(AsnEncodingRules.DER);
        WriteScoped(scoped, kind, oids);
        var salt = new byte[8];
        BinaryPrimitives.WriteInt64BigEndian(salt, _salt++);
        var encrypted = Encrypt(scoped.Encode(), salt);
        var signature = new byte[user.SignatureBytes];
        var message = Message(encrypted, salt, signature);
        signature = user.Sign(_authenticationKey, message);
        return Message(encrypted, salt, signature);
    }

    private byte[] Message(byte[] encrypted, byte[] salt, byte[] signature)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            WriteHeader(writer, flags: 7);
            writer.WriteOctetString(SecurityParameters(_engine, _boots, _time, user.Name, signature, salt));
            writer.WriteOctetString(encrypted);
        }

        return writer.Encode();
    }

    private void WriteHeader(AsnWriter writer, byte flags)
    {
        writer.WriteInteger(3);
        using (writer.PushSequence())
        {
            writer.WriteInteger(_requestId);
            writer.WriteInteger(MaxMessage);
            writer.WriteOctetString([flags]);
            writer.WriteInteger(3);
        }
    }

    private void WriteScoped(AsnWriter writer, Asn1Tag kind, IReadOnlyList<string> oids)
    {
        using (writer.PushSequence())
        {
            writer.WriteOctetString(_engine);
            writer.WriteOctetString([]);
            using (writer.PushSequence(kind))
            {
                writer.WriteInteger(_requestId);
                writer.WriteInteger(0);
                writer.WriteInteger(0);
                using (writer.PushSequence())
                {
                    foreach (var oid in oids)
                    {
                        using (writer.PushSequence())
                        {
                            writer.WriteObjectIdentifier(oid);
                            writer.WriteNull();
                        }
                    }
                }
            }
        }
    }

    private static byte[] SecurityParameters(byte[] engine, int boots, int time, string name, byte[] signature, byte[] salt)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            writer.WriteOctetString(engine);
            writer.WriteInteger(boots);
            writer.WriteInteger(time);
            writer.WriteOctetString(Encoding.UTF8.GetBytes(name));
            writer.WriteOctetString(signature);
            writer.WriteOctetString(salt);
        }

        return writer.Encode();
    }

    private List<SnmpValue>? ReadMessage(ReadOnlyMemory<byte> message)
    {
        var all = new AsnReader(message, AsnEncodingRules.BER).ReadSequence();
        if (all.ReadInteger() != 3)
        {
            throw new SnmpException("The answer is not of version 3.");
        }

        var header = all.ReadSequence();
        header.ReadInteger();
        header.ReadInteger();
        var flags = header.ReadOctetString()[0];
        var security = new AsnReader(all.ReadOctetString(), AsnEncodingRules.BER).ReadSequence();
        var engine = security.ReadOctetString();
        var (boots, time) = ((int)security.ReadInteger(), (int)security.ReadInteger());
        security.ReadOctetString();
        var (signature, salt) = (security.ReadOctetString(), security.ReadOctetString());
        if ((flags & 1) == 0)
        {
            // Not signed: only a report may be, and only for what it is there for.
            Learn(engine, boots, time, all.ReadSequence());
            return null;
        }

        if (!engine.AsSpan().SequenceEqual(_engine) || !IsSigned(message, signature))
        {
            throw new SnmpException("The answer is not signed with the user's password, or is another engine's.");
        }

        if (boots < _boots || (boots == _boots && time < _time - Window))
        {
            throw new SnmpException("The answer is older than what the engine said before: it was sent again by somebody.");
        }

        (_boots, _time) = (boots, time);
        var scoped = (flags & 2) != 0 ? new AsnReader(Decrypt(all.ReadOctetString(), boots, time, salt), AsnEncodingRules.BER).ReadSequence() : all.ReadSequence();
        scoped.ReadOctetString();
        scoped.ReadOctetString();
        return Values(scoped);
    }

    private void Learn(byte[] engine, int boots, int time, AsnReader scoped)
    {
        scoped.ReadOctetString();
        scoped.ReadOctetString();
        var pdu = scoped.PeekTag().HasSameClassAndValue(Report) ? scoped.ReadSequence(Report) : throw new SnmpException("The answer is not signed.");
        pdu.ReadInteger();
        pdu.ReadInteger();
        pdu.ReadInteger();
        var reason = pdu.ReadSequence().ReadSequence().ReadObjectIdentifier();
        switch (reason)
        {
            // usmStatsUnknownEngineIDs: the answer to Discovery.
            case "1.3.6.1.6.3.15.1.1.4.0" when _engine.Length == 0 && engine.Length is >= 5 and <= 32:
                _engine = engine;
                _authenticationKey = user.AuthenticationKey(engine);
                _privacyKey = user.PrivacyKey(engine);
                (_boots, _time) = (boots, time);
                break;
            default:
                throw new SnmpException(reason switch
                {
                    "1.3.6.1.6.3.15.1.1.1.0" => $"The device does not encrypt for user '{user.Name}'.",
                    "1.3.6.1.6.3.15.1.1.3.0" => $"The device has no user '{user.Name}'.",
                    "1.3.6.1.6.3.15.1.1.5.0" => $"The device does not take the password of user '{user.Name}'.",
                    "1.3.6.1.6.3.15.1.1.6.0" => $"The device cannot decrypt what user '{user.Name}' sends: another password or another algorithm.",
                    _ => $"The device reports {reason}.",
                });
        }
    }

    private List<SnmpValue>? Values(AsnReader scoped)
    {
        if (scoped.PeekTag().HasSameClassAndValue(Report))
        {
            // usmStatsNotInTimeWindows, signed: the time is known now.
            return null;
        }

        var pdu = scoped.ReadSequence(Response);
        if (pdu.ReadInteger() != _requestId)
        {
            throw new SnmpException("The answer belongs to another request.");
        }

        if (pdu.ReadInteger() is var status && status != 0)
        {
            throw new SnmpException($"The device answers with error status {status} (RFC 3416 §3).");
        }

        pdu.ReadInteger();
        var values = new List<SnmpValue>();
        var list = pdu.ReadSequence();
        while (list.HasData)
        {
            var pair = list.ReadSequence();
            values.Add(Value(pair.ReadObjectIdentifier(), pair));
        }

        return values;
    }

    private static SnmpValue Value(string oid, AsnReader pair)
    {
        var tag = pair.PeekTag();
        if (tag.HasSameClassAndValue(Asn1Tag.PrimitiveOctetString))
        {
            var bytes = pair.ReadOctetString();
            var isText = bytes.All(b => b is >= 0x20 and not 0x7F or 9 or 10 or 13);
            return new SnmpValue(oid, isText ? Encoding.UTF8.GetString(bytes).Trim() : Convert.ToHexString(bytes), bytes);
        }

        if (tag.HasSameClassAndValue(Asn1Tag.ObjectIdentifier))
        {
            return new SnmpValue(oid, pair.ReadObjectIdentifier(), default);
        }

        if (tag.HasSameClassAndValue(Asn1Tag.Integer) || (tag.TagClass == TagClass.Application && tag.TagValue is 1 or 2 or 3 or 6))
        {
            return new SnmpValue(oid, new BigInteger(pair.ReadIntegerBytes(tag).Span, isBigEndian: true).ToString(System.Globalization.CultureInfo.InvariantCulture), default);
        }

        // noSuchObject, noSuchInstance, endOfMibView, or a type that nobody here asks for.
        pair.ReadEncodedValue();
        return new SnmpValue(oid, null, default);
    }

    /// <summary>The signature is computed over the message with zeros in its place (RFC 3414 §6.3.2).</summary>
    private bool IsSigned(ReadOnlyMemory<byte> message, byte[] signature)
    {
        var copy = message.ToArray();
        var at = copy.AsSpan().IndexOf(signature);
        if (signature.Length != user.SignatureBytes || at < 0)
        {
            return false;
        }

        copy.AsSpan(at, signature.Length).Clear();
        return CryptographicOperations.FixedTimeEquals(user.Sign(_authenticationKey, copy), signature);
    }

    private byte[] Encrypt(byte[] plain, byte[] salt) => Cfb((aes, iv, padded) => aes.EncryptCfb(padded, iv, PaddingMode.None, 128), plain, _boots, _time, salt);

    private byte[] Decrypt(byte[] encrypted, int boots, int time, byte[] salt) =>
        Cfb((aes, iv, padded) => aes.DecryptCfb(padded, iv, PaddingMode.None, 128), encrypted, boots, time, salt);

    /// <summary>RFC 3826 §3.1: a stream cipher; .NET wants whole blocks, and what is added at the end changes nothing before it.</summary>
    private byte[] Cfb(Func<Aes, byte[], byte[], byte[]> run, byte[] data, int boots, int time, byte[] salt)
    {
        if (salt.Length != 8)
        {
            throw new SnmpException($"The answer's salt has {salt.Length} bytes; 8 are needed.");
        }

        using var aes = Aes.Create();
        aes.Key = _privacyKey;
        var iv = new byte[16];
        BinaryPrimitives.WriteInt32BigEndian(iv, boots);
        BinaryPrimitives.WriteInt32BigEndian(iv.AsSpan(4), time);
        salt.CopyTo(iv, 8);
        var padded = new byte[(data.Length + 15) / 16 * 16];
        data.CopyTo(padded, 0);
        return run(aes, iv, padded)[..data.Length];
    }
}
