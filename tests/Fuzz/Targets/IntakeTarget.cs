using System.Diagnostics.Metrics;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.Dicom;
using Yizhan.PacsGw;
using Yizhan.PacsGw.Deidentify;
using Yizhan.PacsGw.Peers;
using Yizhan.PacsGw.Receive;
using Yizhan.PacsGw.Rules;
using Yizhan.Platform;
using Yizhan.Storage;

namespace Yizhan.Fuzz.Targets;

/// <summary>The gateway's one way in: an instance is durable with the hash of its bytes and four UIDs, or refused with a status and a reason.</summary>
internal sealed class IntakeTarget : Target
{
    private static readonly string[] Syntaxes =
        ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.70", "1.2.3.4"];

    private readonly MemoryStore _store;
    private readonly DataSetMutator _mutator;
    private readonly InstanceIntake _intake;

    public IntakeTarget(DataSetMutator mutator, MemoryStore store)
    {
        (_mutator, _store) = (mutator, store);
        var (clock, options, node) = (new StoppedClock(), Options.Create(new PacsGwOptions()), Options.Create(new NodeOptions()));
        var rules = new RuleBook(options, node, new ProjectKeys(node, new UidFactory(null)), new PeerDirectory(options, clock), clock);
        var meters = new ServiceCollection().AddMetrics().BuildServiceProvider().GetRequiredService<IMeterFactory>();
        // The store remembers nothing, so the archive is never asked whether it still has what is known.
        _intake = new InstanceIntake(_store, _store, null!, rules, new GatewayMetrics(meters), clock, options, NullLogger<InstanceIntake>.Instance);
    }

    public override string Name => "intake";

    // The inspector keeps up to 1 MiB of small values, and inflates through a window.
    public override (long Fixed, int PerByte) AllocationBound => (8 * 1024 * 1024, 200);

    public override byte[] Make(Chance chance)
    {
        var file = _mutator.Make(chance);
        try
        {
            // What arrives by C-STORE has no meta information; its transfer syntax was negotiated, and may be another one.
            var header = DicomFileHeader.Read(file);
            var syntax = chance.OneIn(8) ? chance.Below(Syntaxes.Length) : Math.Max(0, Syntaxes.IndexOf(header.TransferSyntax.Uid));
            return [(byte)syntax, .. file.AsSpan((int)header.DatasetOffset)];
        }
        catch (DicomFormatException)
        {
            return [1, .. file];
        }
    }

    public override bool Read(byte[] input, int choice)
    {
        if (input.Length == 0)
        {
            return false;
        }

        _store.Appended = [];
        var receiving = ReceiveAsync(input.AsMemory(1), Syntaxes[input[0] % Syntaxes.Length], 1 + (choice % 3000));
        if (!receiving.IsCompleted && !receiving.Wait(TimeSpan.FromSeconds(60)))
        {
            throw new Finding("The instance did not end");
        }

        var result = receiving.GetAwaiter().GetResult();
        if (!result.IsDurable)
        {
            return _store.Appended.Count == 0 && result.Reason.Length > 0
                ? false
                : throw new Finding($"Refused with {result.Outcome}, and {_store.Appended.Count} entries were appended; the reason has {result.Reason.Length} characters");
        }

        var entry = _store.Appended[0];
        var stored = JsonSerializer.Deserialize(entry.Data.Span, ContractsJson.Default.InstanceStored)!;
        if (entry.Blobs.Single() != new BlobRef(ContentHash.Of(input.AsSpan(1)), input.Length - 1) || stored.Sha256 != entry.Blobs[0].Hash.ToString())
        {
            throw new Finding("What was stored is not what was sent");
        }

        foreach (var uid in (string[])[stored.SopClassUid, stored.SopInstanceUid, stored.StudyInstanceUid, stored.SeriesInstanceUid])
        {
            if (!Uid.IsValid(uid))
            {
                throw new Finding("An instance without its UIDs was stored");
            }
        }

        return true;
    }

    private async Task<IntakeResult> ReceiveAsync(ReadOnlyMemory<byte> bytes, string syntax, int piece)
    {
        await using var reception = _intake.Begin(new IntakeSource("PEER", "YIZHAN", "127.0.0.1", "fuzz"), syntax);
        for (; !bytes.IsEmpty; bytes = bytes[Math.Min(piece, bytes.Length)..])
        {
            await reception.WriteAsync(bytes[..Math.Min(piece, bytes.Length)], default);
        }

        return await reception.CompleteAsync(new Expectation(), default);
    }
}
