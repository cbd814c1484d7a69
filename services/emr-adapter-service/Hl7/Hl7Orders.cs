using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Yizhan.Contracts;
using Yizhan.Hl7v2;

namespace Yizhan.EmrAdapter.Hl7;

/// <summary>ORM^O01, OMG^O19 and OMI^O23: orders, several in a message. Each ORC begins one; OBR, TQ1, IPC and ZDS behind it belong to it.</summary>
internal static class Hl7Orders
{
    private const int MaxOrders = 256;

    /// <summary>Reads the orders.</summary>
    /// <exception cref="Hl7Exception">Something that an order needs is missing or means nothing here.</exception>
    public static IReadOnlyList<ImagingOrder> Read(Hl7Message message, string source, TimeSpan offset, long nowMs)
    {
        var patient = Hl7Patients.Patient(message);
        var groups = new List<List<Hl7Segment>>();
        foreach (var segment in message.Segments)
        {
            if (segment.Is("ORC"))
            {
                groups.Add([]);
            }

            if (groups.Count > 0)
            {
                groups[^1].Add(segment);
            }
        }

        if (groups.Count is 0 or > MaxOrders)
        {
            throw new Hl7Exception(Hl7Error.SegmentSequence, $"The message has {groups.Count} ORC segments; accepted are 1 to {MaxOrders}.", "ORC");
        }

        var sent = Hl7Fields.TimeMs(message["MSH-7"], offset) ?? nowMs;
        return [.. groups.Select((segments, i) => Read(segments, i + 1, patient, source, offset, sent))];
    }

    /// <summary>Identity of an order: readable when it fits, and never two alike.</summary>
    public static string IdOf(string source, string placer)
    {
        var id = $"{source}/{placer}";
        return id.Length <= 64 && !id.Any(c => c == '\\' || char.IsControl(c)) ? id : Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(id)));
    }

    private static ImagingOrder Read(List<Hl7Segment> segments, int number, EmrPatient patient, string source, TimeSpan offset, long sentMs)
    {
        Hl7Segment? Of(string name)
        {
            foreach (var segment in segments)
            {
                if (segment.Is(name))
                {
                    return segment;
                }
            }

            return null;
        }

        var (orc, obr, tq1, ipc, zds) = (Of("ORC"), Of("OBR"), Of("TQ1"), Of("IPC"), Of("ZDS"));
        var placer = First(orc.Text(2), obr.Text(2));
        var filler = First(orc.Text(3), obr.Text(3));
        if (placer.Length == 0 && filler.Length == 0)
        {
            throw new Hl7Exception(Hl7Error.RequiredFieldMissing, "The order has neither a placer order number (ORC-2) nor a filler order number (ORC-3).", $"ORC[{number}]-2");
        }

        var action = Action(orc.Text(1), orc.Text(5), number);
        var isEnd = action is "CANCEL" or "COMPLETE";
        if (!isEnd && obr.Text(4).Length == 0 && obr.Text(4, 2).Length == 0)
        {
            throw new Hl7Exception(Hl7Error.RequiredFieldMissing, "OBR-4 is empty: it says what is to be done.", $"OBR[{number}]-4");
        }

        if (!isEnd && patient.Name.Length == 0)
        {
            throw new Hl7Exception(Hl7Error.RequiredFieldMissing, "PID-5 is empty: a modality needs the patient's name.", "PID-5");
        }

        // A namespace keeps the numbers of two ordering departments apart.
        var space = First(orc.Text(2, 2), obr.Text(2, 2));
        var key = space.Length > 0 ? $"{First(placer, filler)}^{space}" : First(placer, filler);
        var previous = orc.Text(8, 1, 1);
        var study = zds.Text(1);
        var start = First(tq1.Text(7), obr.Text(36), obr.Text(27, 4), orc.Text(7, 4), obr.Text(6), obr.Text(7), orc.Text(15));
        return new ImagingOrder(
            IdOf(source, key),
            source,
            action,
            Hl7Fields.TimeMs(orc.Text(9), offset) ?? sentMs,
            First(placer, filler),
            First(ipc.Text(1), obr.Text(18), filler.Length <= 16 ? filler : ""),
            action is "REVISE" or "RENEW" && previous.Length > 0 ? IdOf(source, orc.Text(8, 1, 2) is { Length: > 0 } parentSpace ? $"{previous}^{parentSpace}" : previous) : "",
            "",
            patient,
            obr.Text(4),
            Terms.TermMaps.SystemOf(obr.Text(4, 3)),
            First(obr.Text(4, 2), obr.Text(4, 5)),
            First(ipc.Text(5), Modality(obr.Text(24))),
            First(ipc.Text(9), obr.Text(21)) is { Length: <= 16 } station ? station : "",
            Start(start, offset, sentMs),
            First(study, ipc.Text(3)) is { } uid && IsUid(uid) ? uid : "",
            ipc.Text(2),
            ipc.Text(4),
            Priority(First(tq1.Text(9), obr.Text(27, 6), orc.Text(7, 6), obr.Text(5), orc.Text(7))),
            Hl7Fields.Name(obr is { } o && !o.Field(16).IsEmpty ? o.Field(16) : orc!.Value.Field(12), family: 2, representation: 15),
            First(obr.Text(31, 2), obr.Text(31), obr.Text(13)));
    }

    /// <summary>Order control (table 0119) and, where that is about a status, order status (table 0038).</summary>
    private static string Action(string control, string status, int number) => (control, status) switch
    {
        ("NW", _) => "NEW",
        ("CA" or "OC" or "DC" or "OD" or "CR" or "DR", _) => "CANCEL",
        ("XO" or "XX" or "RP" or "RU" or "RO" or "SN" or "NA" or "SS", _) => "REVISE",
        ("RE" or "RR" or "RF", _) => "RENEW",
        ("SC", "CA" or "DC") => "CANCEL",
        ("SC", "CM") => "COMPLETE",
        ("SC", _) => "REVISE",
        _ => throw new Hl7Exception(
            Hl7Error.TableValueNotFound, $"ORC-1 is '{control}'; accepted are NW, XO, XX, RP, RU, RO, SN, NA, CA, OC, DC, OD, CR, DR, RE, RR, RF, SC and SS.", $"ORC[{number}]-1"),
    };

    // Diagnostic service sections (table 0074) that are no modality of DICOM.
    private static string Modality(string section) => section switch
    {
        "CT" or "US" or "MR" or "NM" or "MG" or "DX" or "CR" or "XA" or "RF" or "PT" or "OT" or "ECG" or "ES" => section,
        "NMR" => "MR",
        "NMS" => "NM",
        "RUS" => "US",
        "EC" => "ECG",
        _ => "",
    };

    private static string Priority(string text) => text.ToUpperInvariant() switch
    {
        "S" or "STAT" => "S",
        "A" or "ASAP" or "URGENT" or "U" => "A",
        _ => "R",
    };

    private static string Start(string text, TimeSpan offset, long sentMs) =>
        (Hl7Time.TryParse(text, offset, out var time) ? time : DateTimeOffset.FromUnixTimeMilliseconds(sentMs)).ToOffset(offset) is var local
        && text.Length is > 0 and <= 8 ? local.ToString("yyyyMMdd", CultureInfo.InvariantCulture) : local.ToString("yyyyMMddHHmmss", CultureInfo.InvariantCulture);

    private static bool IsUid(string text) => text.Length is > 0 and <= 64 && text.Split('.').All(part => part.Length > 0 && part.All(char.IsAsciiDigit) && (part.Length == 1 || part[0] != '0'));

    private static string First(params ReadOnlySpan<string> texts)
    {
        foreach (var text in texts)
        {
            if (text.Length > 0)
            {
                return text;
            }
        }

        return "";
    }
}
