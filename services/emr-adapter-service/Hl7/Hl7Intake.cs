using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using Microsoft.Extensions.Options;
using Yizhan.Contracts;
using Yizhan.EmrAdapter.Patients;
using Yizhan.Hl7v2;
using Yizhan.Storage;

namespace Yizhan.EmrAdapter.Hl7;

/// <summary>What a message says, as entries for the event log.</summary>
internal sealed class Hl7Intake(EmrDatabase database, EmrFollower follower, IEventLog log, IOptions<EmrAdapterOptions> options, TimeProvider clock)
{
    /// <summary>Message types that are taken, as MSH-9.</summary>
    public static readonly IReadOnlyList<string> Types = ["ORM^O01", "OMG^O19", "OMI^O23", "ADT^Axx"];

    private readonly TimeSpan _offset = TimeSpan.FromMinutes(options.Value.UtcOffsetMinutes);

    /// <summary>Reads a message. Nothing is stored.</summary>
    /// <exception cref="Hl7Exception">It is not taken; the text says why.</exception>
    public (IReadOnlyList<ImagingOrder> Orders, IReadOnlyList<PatientChanged> Patients) Read(Hl7Message message)
    {
        if (message.ControlId.Length == 0)
        {
            throw new Hl7Exception(Hl7Error.RequiredFieldMissing, "MSH-10 is empty: without it an answer cannot be matched.", "MSH-10");
        }

        if (message["MSH-12.1"] is { Length: > 0 } version && !version.StartsWith("2.", StringComparison.Ordinal))
        {
            throw new Hl7Exception(Hl7Error.UnsupportedVersionId, $"MSH-12 is '{version}'; accepted are 2.1 to 2.8.2.", "MSH-12");
        }

        var processing = message["MSH-11.1"];
        if (processing.Length > 0 && !options.Value.Hl7.ProcessingIds.Contains(processing, StringComparison.Ordinal))
        {
            throw new Hl7Exception(Hl7Error.UnsupportedProcessingId, $"MSH-11 is '{processing}'; accepted is {options.Value.Hl7.ProcessingIds}.", "MSH-11");
        }

        var source = message["MSH-3.1"] is { Length: > 0 } application ? application : message["MSH-4.1"] is { Length: > 0 } facility ? facility : "hl7";
        var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
        return (message.Type, message.TriggerEvent) switch
        {
            ("ORM", "O01" or "") or ("OMG", "O19") or ("OMI", "O23") => (Hl7Orders.Read(message, source, _offset, now), []),
            ("ADT", _) => ([], [Hl7Patients.Read(message, source, _offset, now)]),
            var (type, trigger) => throw new Hl7Exception(
                Hl7Error.UnsupportedMessageType, $"{type}^{trigger} is not taken; accepted are {string.Join(", ", Types)}.", "MSH-9"),
        };
    }

    /// <summary>Reads a message and makes the entries that keep what it says. A retransmission makes the same ones, which the log keeps once.</summary>
    /// <exception cref="Hl7Exception">It is not taken; the text says why.</exception>
    public async ValueTask<IReadOnlyList<Entry>> ToEntriesAsync(Hl7Message message, string peer, CancellationToken cancellationToken)
    {
        var (orders, patients) = Read(message);
        foreach (var merge in patients.Where(p => p.Action == "MERGE"))
        {
            // Whether it would be a loop must be known before it is accepted.
            await follower.ReachedNowAsync(cancellationToken);
            if (database.Read(db => PatientIndex.MergeProblem(db, merge)) is { } problem)
            {
                throw new Hl7Exception(Hl7Error.DuplicateKeyIdentifier, problem, "MRG-1");
            }
        }

        var id = $"emr/hl7/{log.Site}/{Fact(message)}";
        var now = clock.GetUtcNow().ToUnixTimeMilliseconds();
        var entries = new List<Entry>(orders.Count + patients.Count + 1);
        for (var i = 0; i < orders.Count; i++)
        {
            entries.Add(Of(ImagingOrder.EventType, string.Create(CultureInfo.InvariantCulture, $"{id}/{i}"), orders[i].Patient.PatientId, now, JsonSerializer.SerializeToUtf8Bytes(orders[i], ContractsJson.Default.ImagingOrder)));
        }

        foreach (var patient in patients)
        {
            entries.Add(Of(PatientChanged.EventType, $"{id}/p", patient.Patient.PatientId, now, JsonSerializer.SerializeToUtf8Bytes(patient, ContractsJson.Default.PatientChanged)));
        }

        var who = orders.Count > 0 ? orders[0].Patient.PatientId : patients[0].Patient.PatientId;
        var record = new AuditRecord(
            orders.Count > 0 ? "110109" : "110110", "C", 0, orders.Count > 0 ? orders[0].Source : patients[0].Source, peer, $"emr-adapter@{log.Site}",
            $"message/{Convert.ToHexStringLower(SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(message.ControlId)))[..16]}", $"{message.Type}^{message.TriggerEvent}", now,
            who.Length <= AuditRecord.MaxPatientLength ? who : null);
        entries.Add(Of(AuditRecord.EventType, $"{id}/a", record.Entity, now, JsonSerializer.SerializeToUtf8Bytes(record, ContractsJson.Default.AuditRecord)));
        return entries;
    }

    /// <summary>What the log accepts: it must be the sender who hears of it, who else would send the same message again and again.</summary>
    private const int MaxKeyLength = 200;

    private static Entry Of(string type, string id, string key, long timeMs, byte[] data) =>
        key.Length > MaxKeyLength || key.Contains('\0', StringComparison.Ordinal)
            ? throw new Hl7Exception(Hl7Error.DataType, $"A patient's identifier of {key.Length} characters is not taken; accepted are up to {MaxKeyLength}, without U+0000.", "PID-3")
        : data.Length <= Entry.MaxDataBytes
            ? new Entry(Lane.Normal, type, id, key, timeMs, data)
            : throw new Hl7Exception(Hl7Error.DataType, $"An order or patient of {data.Length} bytes is not taken; accepted are up to {Entry.MaxDataBytes}.");

    /// <summary>
    /// Identity of the message: who sent it, its MSH-10 and all segments but MSH. Some engines write a new MSH-7 into a retransmission, and some begin to
    /// count MSH-10 again after a restart.
    /// </summary>
    private static string Fact(Hl7Message message)
    {
        using var sha = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Append(message["MSH-3"]);
        Append(message["MSH-4"]);
        Append(message.ControlId);
        foreach (var segment in message.Segments.Skip(1))
        {
            Append(segment.Raw.Span);
        }

        return Convert.ToHexStringLower(sha.GetHashAndReset());

        // Each part is ended, so "ab" and "c" cannot hash like "a" and "bc"; characters are hashed as they are in memory.
        void Append(ReadOnlySpan<char> text)
        {
            sha.AppendData(System.Runtime.InteropServices.MemoryMarshal.AsBytes(text));
            sha.AppendData("\r\0"u8);
        }
    }
}
