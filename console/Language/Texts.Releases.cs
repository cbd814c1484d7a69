namespace Yizhan.Console.Language;

/// <summary>Texts of the approval of releases.</summary>
public abstract partial class Texts
{
#pragma warning disable CS1591
    public abstract string KeyHere { get; }
    public abstract string KeyHereHint { get; }
    public abstract string KeyInsecure { get; }
    public abstract string KeyNotKept(string problem);
    public abstract string KeyName { get; }
    public abstract string KeyNameForm { get; }
    public abstract string KeyMake { get; }
    public abstract string KeyFingerprint { get; }
    public abstract string KeyCounts(string person);
    public abstract string KeyUnknown { get; }
    public abstract string KeyFurther { get; }
    public abstract string KeyRevoked { get; }
    public abstract string KeyOtherName { get; }
    public abstract string KeyForget { get; }
    public abstract string KeyForgetSays { get; }
    public abstract string KeyForgetYes { get; }
    public abstract string KeyKeep { get; }
    public abstract string SeeChanges { get; }
    public abstract string ReleaseChangesTitle(string version);
    public abstract string ChangedSince(string version);
    public abstract string ChangedFromNothing { get; }
    public abstract string MoreChanges(int count);
    public abstract string MoreSites(int count);
    public abstract string SitesUnchanged(int count);
    public abstract string SitesGone(string sites);
    public abstract string TrustChanges { get; }
    public abstract string YouProposed { get; }
    public abstract string YouApproved { get; }
    public abstract string ApproveLeaves(int count);
    public abstract string ApproveStarts(int sites);
    public abstract string ApproveAs(string key);
    public abstract string ReleaseNotRead(string version);
#pragma warning restore CS1591
}
