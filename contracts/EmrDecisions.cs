namespace Yizhan.Contracts;

/// <summary>Who decided, and why; the body of <c>POST /emr-adapter/dead-letters/KEY/replay</c>.</summary>
/// <param name="By">Who; goes into the audit log.</param>
/// <param name="Reason">Why; goes into the audit log.</param>
public sealed record EmrDecision(string By, string Reason);

/// <summary>What a code means that no map knew; the body of <c>POST /emr-adapter/unmapped</c>.</summary>
/// <param name="Map">procedures or findings.</param>
/// <param name="System">The code system.</param>
/// <param name="Code">The code.</param>
/// <param name="Target">A modality of DICOM (procedures) or a code of SNOMED CT (findings).</param>
/// <param name="Text">The same for people.</param>
/// <param name="By">Who; goes into the audit log.</param>
/// <param name="Reason">Why; goes into the audit log.</param>
public sealed record TermDecision(string Map, string System, string Code, string Target, string Text, string By, string Reason);

/// <summary>Whether two identifiers are one patient; the body of <c>POST /emr-adapter/identity-conflicts/KEY</c>.</summary>
/// <param name="Decision">same or apart.</param>
/// <param name="By">Who; goes into the audit log.</param>
/// <param name="Reason">Why; goes into the audit log.</param>
public sealed record IdentityDecision(string Decision, string By, string Reason)
{
    /// <summary>They are one: the other identifier's patient takes this one's place.</summary>
    public const string Same = "same";

    /// <summary>They are two, or the contradiction is known: it is not listed any more.</summary>
    public const string Apart = "apart";
}

/// <summary>A person has said what a code means. It counts from here on, before the maps of files, at the site and at the centre.</summary>
/// <param name="Map">procedures or findings.</param>
/// <param name="System">The code system, as its URI where it has one.</param>
/// <param name="Code">The code.</param>
/// <param name="Target">What it means.</param>
/// <param name="Text">The same for people.</param>
/// <param name="MappedMs">When, Unix milliseconds UTC: of two decisions about one code the later one counts.</param>
public sealed record TermMapped(string Map, string System, string Code, string Target, string Text, long MappedMs)
{
    /// <summary>CloudEvents type.</summary>
    public const string EventType = "yizhan.emr.term-mapped.v1";
}
