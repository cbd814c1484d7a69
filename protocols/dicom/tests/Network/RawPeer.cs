using System.Buffers;
using System.Buffers.Binary;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using Microsoft.Extensions.Time.Testing;
using Xunit.Sdk;
using Yizhan.Dicom.Network;

namespace Yizhan.Dicom.Tests.Network;

/// <summary>
/// The far end of an association as bare bytes, over two bounded pipes and under a clock that the test moves. What it sends may be wrong
/// in every way.
/// </summary>
internal sealed class RawPeer : IAsyncDisposable
{
    public const string SopClass = "1.2.840.10008.5.1.4.1.1.2";
    public const string ImplicitLittleEndian = "1.2.840.10008.1.2";

    private static readonly ConditionalWeakTable<ITest, CancellationTokenSource> Limits = [];

    private readonly Pipe _toUs = new(new PipeOptions(pauseWriterThreshold: 1 << 16, resumeWriterThreshold: 1 << 15));
    private readonly Pipe _fromUs = new(new PipeOptions(pauseWriterThreshold: 1 << 16, resumeWriterThreshold: 1 << 15));
    private long _taken;

    // A failed test disposes its association first, which waits for this end to close under a clock that nobody moves any more.
    public RawPeer() => Cancel.UnsafeRegister(static peer => ((RawPeer)peer!).Close(), this);

    public FakeTimeProvider Clock { get; } = new();

    public AssociationOptions Options { get; init; } = new();

    /// <summary>The test's token, which also ends a test that waits for what never comes, instead of hanging the run.</summary>
    public static CancellationToken Cancel => Limits.GetValue(
        TestContext.Current.Test!, static _ => CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken, new CancellationTokenSource(TimeSpan.FromMinutes(2)).Token)).Token;

    /// <summary>Bytes that the association has taken from the pipe so far, or that the pipe holds.</summary>
    public long Taken => _taken;

    public static AssociateRequest Request => new()
    {
        CallingAeTitle = "PEER",
        CalledAeTitle = "YIZHAN",
        PresentationContexts = [new(1, SopClass, [ImplicitLittleEndian]), new(3, "1.2.840.10008.1.1", [ImplicitLittleEndian])],
        MaxPduBytes = 16384,
    };

    public Task<Association?> AcceptAsync(Func<AssociateRequest, AssociateAnswer>? decide = null) => Association.AcceptAsync(
        _toUs.Reader, _fromUs.Writer.AsStream(), (request, _) => new((decide ?? TestScp.AcceptEverything)(request)), Options, Clock, Cancel);

    public Task<Association> RequestAsync() => Association.RequestAsync(
        _toUs.Reader, _fromUs.Writer.AsStream(), RequestorWithDcmtk.Request(SopClass, ImplicitLittleEndian), Options, Clock, Cancel);

    /// <summary>Our acceptor after a proper negotiation.</summary>
    public async Task<Association> EstablishAcceptorAsync(OperationsWindow? window = null)
    {
        var accepting = AcceptAsync();
        await SendAsync(AssociateCodec.Encode(Request with { OperationsWindow = window }));
        var association = await accepting;
        Assert.Equal(2, (await ReceivePduAsync())![0]);
        return association!;
    }

    /// <summary>Our requestor after a proper negotiation.</summary>
    public async Task<Association> EstablishRequestorAsync(uint maxPduBytes = 16384, OperationsWindow? window = null)
    {
        var requesting = RequestAsync();
        var request = AssociateCodec.DecodeRequest((await ReceivePduAsync())!.AsSpan(6), 128);
        await SendAsync(AssociateCodec.Encode(
            new AssociateAccept { PresentationContexts = [new(1, ContextResult.Acceptance, ImplicitLittleEndian)], MaxPduBytes = maxPduBytes, OperationsWindow = window },
            request));
        return await requesting;
    }

    /// <summary>Sends bytes; ends quietly when the association has closed its side.</summary>
    public async Task<bool> SendAsync(byte[] bytes)
    {
        var flushed = await _toUs.Writer.WriteAsync(bytes.AsMemory(), Cancel);
        _taken += bytes.Length;
        return !flushed.IsCompleted;
    }

    /// <summary>Closes the peer's sending side.</summary>
    public void Close() => _toUs.Writer.Complete();

    /// <summary>The next PDU with its header; null when the association closed the connection.</summary>
    public async Task<byte[]?> ReceivePduAsync()
    {
        var header = await _fromUs.Reader.ReadAtLeastAsync(6, Cancel);
        if (header.Buffer.Length < 6)
        {
            Assert.True(header.Buffer.IsEmpty);
            return null;
        }

        var length = 6 + (int)BinaryPrimitives.ReadUInt32BigEndian(header.Buffer.Slice(2, 4).ToArray());
        _fromUs.Reader.AdvanceTo(header.Buffer.Start);
        var pdu = (await _fromUs.Reader.ReadAtLeastAsync(length, Cancel)).Buffer.Slice(0, length);
        var bytes = pdu.ToArray();
        _fromUs.Reader.AdvanceTo(pdu.End);
        return bytes;
    }

    /// <summary>Source and reason of the A-ABORT that must come next.</summary>
    public async Task<(byte Source, AbortReason Reason)> ReceiveAbortAsync()
    {
        var pdu = await ReceivePduAsync();
        Assert.Equal([7, 0, 0, 0, 0, 4], pdu?[..6]);
        return (pdu![8], (AbortReason)pdu[9]);
    }

    /// <summary>Moves the clock in steps until a task ends, and says how far.</summary>
    public async Task<TimeSpan> AdvanceUntilAsync(Task task, TimeSpan step)
    {
        var start = Clock.GetUtcNow();
        for (var began = TimeProvider.System.GetTimestamp(); !task.IsCompleted && TimeProvider.System.GetElapsedTime(began) < TimeSpan.FromMinutes(2);)
        {
            Clock.Advance(step);
            await Task.WhenAny(task, Task.Delay(1, Cancel));
        }

        Assert.True(task.IsCompleted, $"still waiting after {Clock.GetUtcNow() - start} of virtual time");
        return Clock.GetUtcNow() - start;
    }

    public ValueTask DisposeAsync()
    {
        _toUs.Writer.Complete();
        _fromUs.Reader.Complete();
        return ValueTask.CompletedTask;
    }

    /// <summary>A P-DATA-TF with one presentation data value.</summary>
    public static byte[] Data(byte context, bool command, bool last, ReadOnlySpan<byte> value) => Pdu(
        4, [.. Int32(value.Length + 2), context, (byte)((command ? 1 : 0) | (last ? 2 : 0)), .. value]);

    public static byte[] Pdu(byte type, ReadOnlySpan<byte> body) => [type, 0, .. Int32(body.Length), .. body];

    /// <summary>A PDU header that promises a body.</summary>
    public static byte[] Header(byte type, uint length) => [type, 0, .. Int32((int)length)];

    public static byte[] Command(CommandSet command, bool hasDataSet, byte context = 1)
    {
        var bytes = new byte[command.EncodedBytes];
        command.Encode(bytes, hasDataSet);
        return Data(context, command: true, last: true, bytes);
    }

    public static byte[] Int32(int value)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteInt32BigEndian(bytes, value);
        return bytes;
    }
}
