namespace Yizhan.Dicom.Network;

/// <summary>A presentation context as the requestor proposes it (PS3.8 §9.3.2.2).</summary>
/// <param name="Id">Odd, 1 to 255.</param>
/// <param name="AbstractSyntax">SOP class UID.</param>
/// <param name="TransferSyntaxes">Transfer syntax UIDs in the requestor's order, at least one.</param>
public sealed record PresentationContext(byte Id, string AbstractSyntax, IReadOnlyList<string> TransferSyntaxes);

/// <summary>The result field of a presentation context in an A-ASSOCIATE-AC (PS3.8 §9.3.3.2).</summary>
public enum ContextResult : byte
{
    /// <summary>Accepted.</summary>
    Acceptance = 0,

    /// <summary>Refused by the service user.</summary>
    UserRejection = 1,

    /// <summary>Refused by the service provider, no reason given.</summary>
    NoReason = 2,

    /// <summary>The abstract syntax is not supported.</summary>
    AbstractSyntaxNotSupported = 3,

    /// <summary>None of the transfer syntaxes is supported.</summary>
    TransferSyntaxesNotSupported = 4,
}

/// <summary>The acceptor's answer to one presentation context.</summary>
/// <param name="Id">The id of the proposed context.</param>
/// <param name="Result">Accepted, or why not.</param>
/// <param name="TransferSyntax">The chosen one of the proposed transfer syntaxes; without meaning unless accepted.</param>
public sealed record PresentationContextResult(byte Id, ContextResult Result, string? TransferSyntax);

/// <summary>A presentation context that both sides agreed on.</summary>
/// <param name="Id">Odd, 1 to 255.</param>
/// <param name="AbstractSyntax">SOP class UID.</param>
/// <param name="TransferSyntax">The one transfer syntax UID of its data sets.</param>
public sealed record AcceptedContext(byte Id, string AbstractSyntax, string TransferSyntax);

/// <summary>Asynchronous operations window (PS3.7 Annex D.3.3.3), seen from the association requestor; 0 = unlimited.</summary>
/// <param name="Invoked">Operations that the requestor may have outstanding.</param>
/// <param name="Performed">Operations that the requestor performs at a time for the acceptor.</param>
public readonly record struct OperationsWindow(ushort Invoked, ushort Performed);

/// <summary>SCP/SCU role selection (PS3.7 Annex D.3.3.4): the roles of the association requestor for one SOP class.</summary>
/// <param name="SopClassUid">The SOP class.</param>
/// <param name="Scu">The requestor may be SCU.</param>
/// <param name="Scp">The requestor may be SCP.</param>
public sealed record RoleSelection(string SopClassUid, bool Scu, bool Scp);

/// <summary>SOP class extended negotiation (PS3.7 Annex D.3.3.5), passed through.</summary>
/// <param name="SopClassUid">The SOP class.</param>
/// <param name="Information">Its service class's application information.</param>
public sealed record ExtendedNegotiation(string SopClassUid, ReadOnlyMemory<byte> Information);

/// <summary>
/// User identity (PS3.7 Annex D.3.3.7). Leaving it unanswered is the standard's way to say that it is not supported. Its fields are
/// credentials: they are never printed.
/// </summary>
/// <param name="Type">1 user name, 2 name and passcode, 3 Kerberos, 4 SAML, 5 JWT.</param>
/// <param name="PositiveResponseRequested">The requestor wants an answer.</param>
/// <param name="Primary">User name, ticket or assertion.</param>
/// <param name="Secondary">Passcode, or empty.</param>
public sealed record UserIdentity(byte Type, bool PositiveResponseRequested, ReadOnlyMemory<byte> Primary, ReadOnlyMemory<byte> Secondary)
{
    /// <inheritdoc/>
    public override string ToString() => $"user identity of type {Type}";
}

/// <summary>What both A-ASSOCIATE PDUs say about their sender (PS3.8 Annex D, PS3.7 Annex D.3.3).</summary>
public abstract record UserInformation
{
    /// <summary>The longest P-DATA-TF that the sender of this PDU wants to receive, in bytes; 0 = no limit.</summary>
    public uint MaxPduBytes { get; internal init; }

    /// <summary>Implementation class UID.</summary>
    public string ImplementationClassUid { get; internal init; } = DicomImplementation.Default.ClassUid;

    /// <summary>Implementation version name, at most 16 characters; may be absent.</summary>
    public string? ImplementationVersionName { get; internal init; } = DicomImplementation.Default.VersionName;

    /// <summary>Asynchronous operations window; null means one operation at a time.</summary>
    public OperationsWindow? OperationsWindow { get; internal init; }

    /// <summary>SCP/SCU role selections.</summary>
    public IReadOnlyList<RoleSelection> Roles { get; init; } = [];

    /// <summary>SOP class extended negotiations.</summary>
    public IReadOnlyList<ExtendedNegotiation> ExtendedNegotiations { get; init; } = [];
}

/// <summary>An A-ASSOCIATE-RQ (PS3.8 §9.3.2). As requestor fill in titles and contexts; limits come from the options.</summary>
public sealed record AssociateRequest : UserInformation
{
    /// <summary>AE title of the acceptor, 1 to 16 characters.</summary>
    public required string CalledAeTitle { get; init; }

    /// <summary>AE title of the requestor, 1 to 16 characters.</summary>
    public required string CallingAeTitle { get; init; }

    /// <summary>What is proposed, 1 to 128 contexts.</summary>
    public required IReadOnlyList<PresentationContext> PresentationContexts { get; init; }

    /// <summary>The user identity that the requestor sent, if any. Ours is not sent.</summary>
    public UserIdentity? UserIdentity { get; internal init; }

    internal ushort ProtocolVersion { get; init; } = 1;

    internal string ApplicationContext { get; init; } = Implementation.ApplicationContext;
}

/// <summary>An A-ASSOCIATE-AC (PS3.8 §9.3.3).</summary>
public sealed record AssociateAccept : UserInformation
{
    /// <summary>One result for each proposed context.</summary>
    public required IReadOnlyList<PresentationContextResult> PresentationContexts { get; init; }
}

/// <summary>What the acceptor's callback decides.</summary>
public sealed record AssociateAnswer
{
    private AssociateAnswer()
    {
    }

    /// <summary>Accepts the association.</summary>
    /// <param name="contexts">The result of each context; one that is left out counts as "abstract syntax not supported".</param>
    public static AssociateAnswer Accept(IEnumerable<PresentationContextResult> contexts) => new() { Contexts = [.. contexts] };

    /// <summary>Accepts the association; the first proposed transfer syntax that is in <paramref name="supported"/> is chosen for each context.</summary>
    /// <param name="request">The request.</param>
    /// <param name="supported">Transfer syntaxes supported for a SOP class; null = the SOP class is not supported.</param>
    public static AssociateAnswer Accept(AssociateRequest request, Func<string, IReadOnlySet<string>?> supported) =>
        Accept(request.PresentationContexts.Select(context =>
        {
            var syntaxes = supported(context.AbstractSyntax);
            var chosen = syntaxes is null ? null : context.TransferSyntaxes.FirstOrDefault(syntaxes.Contains);
            var result = syntaxes is null ? ContextResult.AbstractSyntaxNotSupported
                : chosen is null ? ContextResult.TransferSyntaxesNotSupported : ContextResult.Acceptance;
            return new PresentationContextResult(context.Id, result, chosen);
        }));

    /// <summary>Rejects the association.</summary>
    public static AssociateAnswer Reject(RejectReason reason, bool transient) => new() { Rejection = new(reason, transient) };

    internal IReadOnlyList<PresentationContextResult> Contexts { get; private init; } = [];

    internal Rejection? Rejection { get; private init; }

    /// <summary>Role selections to return; none = the default roles (requestor is SCU).</summary>
    public IReadOnlyList<RoleSelection> Roles { get; init; } = [];

    /// <summary>Extended negotiations to return.</summary>
    public IReadOnlyList<ExtendedNegotiation> ExtendedNegotiations { get; init; } = [];
}

/// <summary>Constants of the upper layer.</summary>
public static class Implementation
{
    /// <summary>The DICOM application context (PS3.7 Annex A.2.1), the only one there is.</summary>
    public const string ApplicationContext = "1.2.840.10008.3.1.1.1";
}
