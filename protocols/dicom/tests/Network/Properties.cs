using System.Globalization;
using System.IO.Pipelines;
using System.Security.Cryptography;
using CsCheck;
using Yizhan.Dicom.Network;

namespace Yizhan.Dicom.Tests.Network;

/// <summary>
/// Properties over generated PDUs and byte streams. A failing seed is printed; CsCheck_Seed repeats it. YIZHAN_MUTATIONS sets how many mutated
/// streams are tried, CsCheck_Iter how many cases of the other properties.
/// </summary>
public sealed class Properties
{
    private static readonly long Mutations = long.Parse(Environment.GetEnvironmentVariable("YIZHAN_MUTATIONS") ?? "1000", CultureInfo.InvariantCulture);

    private static readonly Gen<string> Uid = Gen.Int[1, 30].Select(n => "1.2." + new string('3', n));
    private static readonly Gen<string> Title = Gen.String[Gen.Char['A', 'Z'], 1, 16];

    private static readonly Gen<AssociateRequest> Request = Gen.Select(
        Title,
        Title,
        Gen.Select(Uid, Uid.List[1, 5]).List[1, 128],
        Gen.UInt.Where(n => n is 0 or >= 64),
        Gen.Select(Gen.UShort, Gen.UShort),
        Gen.Select(Uid, Gen.Bool, Gen.Bool).List[0, 5],
        Gen.Select(Uid, Gen.Byte.Array[0, 20]).List[0, 3],
        Gen.Bool)
        .Select((called, calling, contexts, max, window, roles, extended, withWindow) => new AssociateRequest
        {
            CalledAeTitle = called,
            CallingAeTitle = calling,
            PresentationContexts = [.. contexts.Select((c, i) => new PresentationContext((byte)((i * 2) + 1), c.Item1, c.Item2))],
            MaxPduBytes = max,
            OperationsWindow = withWindow ? new(window.Item1, window.Item2) : null,
            Roles = [.. roles.Select(r => new RoleSelection(r.Item1, r.Item2, r.Item3))],
            ExtendedNegotiations = [.. extended.Select(e => new ExtendedNegotiation(e.Item1, e.Item2))],
            UserIdentity = withWindow ? null : new UserIdentity(2, true, new byte[] { 65 }, new byte[] { 66, 67 }),
        });

    [Fact]
    public void A_request_survives_its_encoding() => Request.Sample(request =>
        Print(AssociateCodec.DecodeRequest(AssociateCodec.Encode(request).AsSpan(6), 128)) == Print(request));

    [Fact]
    public void An_acceptance_survives_its_encoding() => Request.Sample(request =>
    {
        var accept = new AssociateAccept
        {
            PresentationContexts = [.. request.PresentationContexts.Select(
                c => new PresentationContextResult(c.Id, (ContextResult)(c.Id % 5), c.Id % 5 == 0 ? c.TransferSyntaxes[^1] : null))],
            MaxPduBytes = request.MaxPduBytes,
            OperationsWindow = request.OperationsWindow,
            Roles = request.Roles,
            ExtendedNegotiations = request.ExtendedNegotiations,
        };
        return Print(AssociateCodec.DecodeAccept(AssociateCodec.Encode(accept, request).AsSpan(6))) == Print(accept);
    });

    [Fact]
    public void A_command_set_survives_its_encoding() =>
        Gen.Select(Gen.UShort, Gen.Select(Gen.UShort[0x901, 0xFFFF], Gen.Byte.Array[0, 30]).List[0, 20], Gen.Bool).Sample((id, elements, hasDataSet) =>
        {
            var command = CommandSet.StoreRequest(id, "1.2.3", "1.2.3.4");
            foreach (var (element, value) in elements)
            {
                command.SetBytes((CommandElement)element, value.AsSpan(0, value.Length & ~1));
            }

            var bytes = new byte[command.EncodedBytes];
            command.Encode(bytes, hasDataSet);
            var decoded = CommandSet.Decode(bytes);
            var again = new byte[decoded.EncodedBytes];
            decoded.Encode(again, hasDataSet);
            return decoded.MessageId == id && decoded.HasDataSet == hasDataSet && bytes.AsSpan().SequenceEqual(again);
        });

    /// <summary>A peer's whole side of an association: request, messages in random fragments, release.</summary>
    private static readonly Gen<(byte[] Bytes, string[] Expected)> Conversation =
        Gen.Select(Gen.Int[0, 400].List[0, 6], Gen.Int[1, 300], Gen.Int[1, 3], Gen.Byte).Select((sizes, fragment, valuesPerPdu, seed) =>
        {
            var stream = new MemoryStream();
            stream.Write(AssociateCodec.Encode(RawPeer.Request with { OperationsWindow = new(16, 1) }));
            var expected = new List<string>();
            for (var i = 0; i < sizes.Count; i++)
            {
                var command = CommandSet.StoreRequest((ushort)i, RawPeer.SopClass, $"1.2.{i}");
                var dataSet = Enumerable.Range(0, sizes[i] * 7).Select(n => (byte)(n * seed)).ToArray();
                var commandBytes = new byte[command.EncodedBytes];
                command.Encode(commandBytes, hasDataSet: sizes[i] > 0);
                Fragments(stream, commandBytes, isCommand: true, fragment, valuesPerPdu);
                if (sizes[i] > 0)
                {
                    Fragments(stream, dataSet, isCommand: false, fragment, valuesPerPdu);
                }

                expected.Add(Describe(command, dataSet));
            }

            stream.Write(RawPeer.Pdu(5, new byte[4]));
            return (stream.ToArray(), expected.ToArray());
        });

    [Fact]
    public async Task However_the_bytes_are_cut_the_messages_are_the_same() =>
        await Gen.Select(Conversation, Gen.Int[1, 2000].Array[1, 20]).SampleAsync(async (conversation, cuts) =>
        {
            var (messages, failure) = await PlayAsync(conversation.Bytes, cuts, cancelOften: false);
            Assert.Null(failure);
            Assert.Equal(conversation.Expected, messages);
        });

    [Fact]
    public async Task A_receive_that_is_cancelled_at_every_byte_loses_nothing() =>
        await Conversation.SampleAsync(
            async conversation =>
            {
                var (messages, failure) = await PlayAsync(conversation.Bytes, [1], cancelOften: true);
                Assert.Null(failure);
                Assert.Equal(conversation.Expected, messages);
            },
            iter: 5);

    [Fact]
    public async Task Mutated_conversations_end_with_the_documented_exception_or_well() =>
        await Gen.Select(Conversation, Gen.Int[1, 2000].Array[1, 5], Gen.Select(Gen.Int[0, 5], Gen.Double.Unit, Gen.Byte).List[1, 4]).SampleAsync(
            async (conversation, cuts, mutations) =>
            {
                var bytes = mutations.Aggregate(conversation.Bytes, (b, m) => Mutate(b, m.Item1, (int)(m.Item2 * b.Length), m.Item3));

                // Whatever else than an AssociationException comes out fails the test.
                await PlayAsync(bytes, cuts, cancelOften: false);
            },
            iter: Mutations);

    [Fact]
    public async Task Mutated_answers_to_our_request_end_with_the_documented_exception_or_well() =>
        await Gen.Select(Gen.Int[0, 5], Gen.Double.Unit, Gen.Byte).List[1, 4].SampleAsync(
            async mutations =>
            {
                var accept = new AssociateAccept
                {
                    PresentationContexts = [new(1, ContextResult.Acceptance, RawPeer.ImplicitLittleEndian)],
                    OperationsWindow = new(3, 3),
                };
                byte[] bytes = [
                    .. AssociateCodec.Encode(accept, RawPeer.Request),
                    .. RawPeer.Command(CommandSet.EchoRequest(1).CreateResponse(DimseStatus.Success), false),
                    .. RawPeer.Pdu(6, new byte[4])];
                bytes = mutations.Aggregate(bytes, (b, m) => Mutate(b, m.Item1, (int)(m.Item2 * b.Length), m.Item3));
                var input = new Pipe(new PipeOptions(pauseWriterThreshold: 0));
                await input.Writer.WriteAsync(bytes);
                input.Writer.Complete();
                try
                {
                    await using var association = await Association.RequestAsync(
                        input.Reader, new MemoryStream(), RequestorWithDcmtk.Request(RawPeer.SopClass, RawPeer.ImplicitLittleEndian), new(), TimeProvider.System, default)
                        .WaitAsync(TimeSpan.FromMinutes(2));
                    if (association.PresentationContexts.ContainsKey(1))
                    {
                        await association.SendAsync(1, CommandSet.EchoRequest(1), default);
                        await association.ReceiveAsync(default).AsTask().WaitAsync(TimeSpan.FromMinutes(2));
                    }

                    await association.ReleaseAsync(default).AsTask().WaitAsync(TimeSpan.FromMinutes(2));
                }
                catch (AssociationException)
                {
                }
            },
            iter: Mutations);

    private static byte[] Mutate(byte[] bytes, int kind, int at, byte value) => kind switch
    {
        _ when bytes.Length == 0 => [value],
        0 => [.. bytes[..at], (byte)(bytes[at] ^ (value | 1)), .. bytes[(at + 1)..]],
        1 => bytes[..at],
        2 => [.. bytes[..at], .. bytes[Math.Min(bytes.Length, at + value)..]],
        3 => [.. bytes[..at], .. new byte[value], .. bytes[at..]],
        4 => [.. bytes[..at], 0xFF, 0xFF, 0xFF, 0xFF, .. bytes[Math.Min(bytes.Length, at + 4)..]],
        _ => [.. bytes[..Math.Min(bytes.Length, at + (value * 4))], .. bytes[at..]],
    };

    /// <summary>Our acceptor hears bytes in slices and answers every request; what it understood, and how it ended.</summary>
    private static async Task<(string[] Messages, AssociationException? Failure)> PlayAsync(byte[] bytes, int[] cuts, bool cancelOften)
    {
        var input = new Pipe(new PipeOptions(pauseWriterThreshold: 0));
        var messages = new List<string>();
        var listening = ListenAsync();
        for (int at = 0, i = 0; at < bytes.Length; i++)
        {
            var length = Math.Min(cuts[i % cuts.Length], bytes.Length - at);
            await input.Writer.WriteAsync(bytes.AsMemory(at, length));
            at += length;
            if (cancelOften)
            {
                await Task.Yield();
            }
        }

        input.Writer.Complete();
        var failure = await listening.WaitAsync(TimeSpan.FromMinutes(2));
        return ([.. messages], failure);

        async Task<AssociationException?> ListenAsync()
        {
            try
            {
                await using var association = await Association.AcceptAsync(
                    input.Reader, new MemoryStream(), (request, _) => new(TestScp.AcceptEverything(request)), new(), TimeProvider.System, default);
                while (association is not null && await RepeatAsync(association.ReceiveAsync) is { } message)
                {
                    var dataSet = new MemoryStream();
                    while (message.DataSet is { } reader && await RepeatAsync(reader.ReadAsync) is { IsEmpty: false } piece)
                    {
                        dataSet.Write(piece.Span);
                    }

                    messages.Add(Describe(message.Command, dataSet.ToArray()));
                    if (!message.Command.IsResponse && message.Command.Field != CommandField.CCancelRequest)
                    {
                        await association.SendAsync(message.PresentationContext.Id, message.Command.CreateResponse(DimseStatus.Success), default);
                    }
                }

                if (association is not null)
                {
                    await association.ReleaseAsync(default);
                }

                return null;
            }
            catch (AssociationException e)
            {
                return e;
            }
        }

        async ValueTask<T> RepeatAsync<T>(Func<CancellationToken, ValueTask<T>> receive)
        {
            while (cancelOften)
            {
                using var cancel = new CancellationTokenSource();
                var receiving = receive(cancel.Token);
                await Task.Yield();
                cancel.Cancel();
                try
                {
                    return await receiving;
                }
                catch (OperationCanceledException)
                {
                }
            }

            return await receive(default);
        }
    }

    private static void Fragments(Stream stream, byte[] bytes, bool isCommand, int fragment, int valuesPerPdu)
    {
        var values = bytes.Chunk(fragment).ToArray();
        for (var i = 0; i < values.Length; i += valuesPerPdu)
        {
            var body = new MemoryStream();
            for (var j = i; j < Math.Min(values.Length, i + valuesPerPdu); j++)
            {
                body.Write(RawPeer.Data(1, isCommand, last: j == values.Length - 1, values[j]).AsSpan(6));
            }

            stream.Write(RawPeer.Pdu(4, body.ToArray()));
        }
    }

    private static string Describe(CommandSet command, byte[] dataSet) => $"{command.MessageId} {command.SopInstanceUid} {Convert.ToHexString(SHA256.HashData(dataSet))}";

    private static string Print(UserInformation user)
    {
        var contexts = user switch
        {
            AssociateRequest r => string.Join(';', r.PresentationContexts.Select(c => $"{c.Id} {c.AbstractSyntax} {string.Join(',', c.TransferSyntaxes)}"))
                + $"{r.CalledAeTitle}|{r.CallingAeTitle}|{r.ApplicationContext}|{r.ProtocolVersion}|{r.UserIdentity?.Type} {r.UserIdentity?.PositiveResponseRequested}"
                + $"{Convert.ToHexString((r.UserIdentity?.Primary ?? default).Span)}/{Convert.ToHexString((r.UserIdentity?.Secondary ?? default).Span)}",
            AssociateAccept a => string.Join(';', a.PresentationContexts),
            _ => throw new InvalidOperationException(),
        };
        return $"{contexts} {user.MaxPduBytes} {user.ImplementationClassUid} {user.ImplementationVersionName} {user.OperationsWindow} {string.Join(';', user.Roles)} "
            + string.Join(';', user.ExtendedNegotiations.Select(e => $"{e.SopClassUid} {Convert.ToHexString(e.Information.Span)}"));
    }
}
