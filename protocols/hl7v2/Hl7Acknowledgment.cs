namespace Yizhan.Hl7v2;

/// <summary>Codes of HL7 table 0008: what the receiver did with the message.</summary>
public enum AcknowledgmentCode
{
    /// <summary>Application accept: done, and durable.</summary>
    AA,

    /// <summary>Application error: this message cannot succeed as it is.</summary>
    AE,

    /// <summary>Application reject: not now or not here; the sender may try again.</summary>
    AR,

    /// <summary>Commit accept (enhanced mode): stored, the application answers later.</summary>
    CA,

    /// <summary>Commit error.</summary>
    CE,

    /// <summary>Commit reject.</summary>
    CR,
}

/// <summary>Answers to a message (HL7 v2.5.1 §2.9) and what an answer says.</summary>
public static class Hl7Acknowledgment
{
    /// <summary>
    /// The answer to a message, from the receiver back to the sender, in the message's version and character set. MSA-2 is what it
    /// is matched by.
    /// </summary>
    /// <param name="message">What is answered.</param>
    /// <param name="code">What was done.</param>
    /// <param name="controlId">MSH-10 of the answer.</param>
    /// <param name="time">MSH-7 of the answer.</param>
    /// <param name="error">Why it was not accepted.</param>
    public static Hl7Message To(Hl7Message message, AcknowledgmentCode code, string controlId, DateTimeOffset time, Hl7Exception? error = null)
    {
        var version = message["MSH-12.1"] is { Length: > 0 } declared ? declared : "2.5.1";
        string[] type = message.TriggerEvent is { Length: > 0 } trigger ? ["ACK", trigger, "ACK"] : ["ACK"];
        var answer = new Hl7Builder(type, controlId, time, version, message.CharacterSet);
        foreach (var (from, to) in ((int, int)[])[(5, 3), (6, 4), (3, 5), (4, 6)])
        {
            answer.Set(to, message[$"MSH-{from}.1"], message[$"MSH-{from}.2"], message[$"MSH-{from}.3"]);
        }

        answer.Set(11, message["MSH-11.1"] is { Length: > 0 } processing ? processing : "P");
        answer.Segment("MSA").Set(1, code.ToString()).Set(2, message.ControlId);
        if (error is not null)
        {
            // ERR-3 and the others are of v2.5; before that MSA-3 carried the text.
            answer.Set(3, error.Message);
            answer.Segment("ERR").Set(2, Location(error.Location)).Set(3, $"{(int)error.Error}", Text(error.Error), "HL70357").Set(4, "E").Set(8, error.Message);
        }

        return answer.Build();
    }

    /// <summary>What an answer says; null when the message has no MSA segment or a code that table 0008 does not have.</summary>
    public static (AcknowledgmentCode Code, string ControlId, string Text)? Read(Hl7Message answer) =>
        Enum.TryParse<AcknowledgmentCode>(answer["MSA-1"], out var code) && Enum.IsDefined(code)
            ? (code, answer["MSA-2"], answer["ERR-8"] is { Length: > 0 } text ? text : answer["MSA-3"])
            : null;

    private static string[] Location(string location)
    {
        if (location.IndexOf('-', StringComparison.Ordinal) < 0)
        {
            return location.Length == 0 ? [""] : [location];
        }

        var path = Hl7Path.Parse(location);
        return [path.Segment, $"{path.Occurrence}", $"{path.Field}", path.Repetition > 0 ? $"{path.Repetition}" : "", path.Component > 0 ? $"{path.Component}" : ""];
    }

    private static string Text(Hl7Error error) => error switch
    {
        Hl7Error.SegmentSequence => "Segment sequence error",
        Hl7Error.RequiredFieldMissing => "Required field missing",
        Hl7Error.DataType => "Data type error",
        Hl7Error.TableValueNotFound => "Table value not found",
        Hl7Error.UnsupportedMessageType => "Unsupported message type",
        Hl7Error.UnsupportedEventCode => "Unsupported event code",
        Hl7Error.UnsupportedProcessingId => "Unsupported processing id",
        Hl7Error.UnsupportedVersionId => "Unsupported version id",
        Hl7Error.UnknownKeyIdentifier => "Unknown key identifier",
        Hl7Error.DuplicateKeyIdentifier => "Duplicate key identifier",
        Hl7Error.ApplicationRecordLocked => "Application record locked",
        _ => "Application internal error",
    };
}
