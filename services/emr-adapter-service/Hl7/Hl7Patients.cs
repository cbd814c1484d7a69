using Yizhan.Contracts;
using Yizhan.Hl7v2;

namespace Yizhan.EmrAdapter.Hl7;

/// <summary>PID and ADT messages.</summary>
internal static class Hl7Patients
{
    /// <summary>Events that say how a patient is now; those that say nothing about him as a person (bed, diet) are not here.</summary>
    private static readonly HashSet<string> Updates = ["A01", "A02", "A03", "A04", "A05", "A06", "A07", "A08", "A11", "A13", "A14", "A28", "A31"];

    /// <summary>Reads an ADT message.</summary>
    /// <exception cref="Hl7Exception">The event is not taken, or the patient or MRG-1 is missing.</exception>
    public static PatientChanged Read(Hl7Message message, string source, TimeSpan offset, long nowMs)
    {
        var trigger = message.TriggerEvent;
        if (trigger is not ("A40" or "A18" or "A34" or "A39") && !Updates.Contains(trigger))
        {
            throw new Hl7Exception(
                Hl7Error.UnsupportedEventCode, $"ADT^{trigger} is not taken; accepted are {string.Join(", ", Updates)}, and A18, A34, A39 and A40 to merge.", "MSH-9.2");
        }

        var changed = Hl7Fields.TimeMs(message["EVN-6"], offset) ?? Hl7Fields.TimeMs(message["EVN-2"], offset) ?? Hl7Fields.TimeMs(message["MSH-7"], offset) ?? nowMs;
        var patient = Patient(message);
        if (Updates.Contains(trigger))
        {
            return new PatientChanged(source, "UPDATE", patient, null, changed);
        }

        var retired = Hl7Fields.Identifier(message.At(Hl7Path.Parse("MRG-1[1]")))
            ?? throw new Hl7Exception(Hl7Error.RequiredFieldMissing, "MRG-1 is empty: it names the identifier that is merged into that of PID-3.", "MRG-1");
        return (retired.Value, retired.Issuer) == (patient.PatientId, patient.Issuer)
            ? throw new Hl7Exception(Hl7Error.DuplicateKeyIdentifier, "MRG-1 and PID-3 are one identifier: a patient cannot be merged with himself.", "MRG-1")
            : new PatientChanged(source, "MERGE", patient, retired, changed);
    }

    /// <summary>The patient of PID.</summary>
    /// <exception cref="Hl7Exception">There is no PID-3.</exception>
    public static EmrPatient Patient(Hl7Message message)
    {
        var pid = message.Segment("PID") ?? throw new Hl7Exception(Hl7Error.SegmentSequence, "There is no PID segment: who is it about?", "PID");
        var identifiers = new List<EmrIdentifier>();
        foreach (var field in (ReadOnlySpan<int>)[3, 2, 4])
        {
            var value = pid.Field(field);
            for (var i = 1; i <= value.RepetitionCount; i++)
            {
                if (Hl7Fields.Identifier(value.Repetition(i)) is { } identifier && !identifiers.Contains(identifier))
                {
                    identifiers.Add(identifier);
                }
            }

            // PID-2 and PID-4 are what senders before v2.3.1 had instead of repetitions.
            if (identifiers.Count > 0)
            {
                break;
            }
        }

        if (identifiers.Count == 0)
        {
            throw new Hl7Exception(Hl7Error.RequiredFieldMissing, "PID-3 is empty: the patient has no identifier.", "PID-3");
        }

        var main = identifiers.FirstOrDefault(i => i.Type == "MR") ?? identifiers.FirstOrDefault(i => i.Type is "PI" or "PT") ?? identifiers[0];

        // Bahmni 0.93 sends the patient identifier as PID-5.2 and the name as OBR-30 "given,family".
        var name = message["MSH-4.1"] == "BahmniEMR" && message["OBR-30"] is { Length: > 0 } sent ? string.Join('^', sent.Split(',', 2).Reverse().Select(p => p.Trim())) : Hl7Fields.Name(pid.Field(5));
        return new EmrPatient(main.Value, main.Issuer, "", identifiers, name, Hl7Fields.Date(pid.Field(7).Repetition(1).Component(1).ToString()), Hl7Fields.Sex(pid.Field(8).Repetition(1).Component(1).ToString()));
    }
}
