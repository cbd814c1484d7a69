namespace Yizhan.Console.Language;

internal sealed partial class EnglishTexts
{
    public override string KeyHere => "Your key in this browser";
    public override string KeyHereHint => "With it you approve releases on this page. It is made here and cannot be copied out of this browser; it counts once its public half is in the trust list. Make one only where nobody else uses the browser under your name.";
    public override string KeyInsecure => "A browser signs only on pages that come over HTTPS or from the same machine. Open the console in such a way, or approve with the command.";
    public override string KeyNotKept(string problem) => $"This browser keeps no key ({problem}): a private window, or storage is forbidden. Use another window, or approve with the command.";
    public override string KeyName => "Name of the key";
    public override string KeyNameForm => "Accepted: 1 to 41 of a-z, 0-9 and -.";
    public override string KeyMake => "Make a key";
    public override string KeyFingerprint => "Fingerprint";
    public override string KeyCounts(string person) => $"It is in the trust list, as a key of {person}.";
    public override string KeyUnknown => "It is not in the trust list, so it approves nothing yet. Whoever keeps the list compares the fingerprint with you and adds the key:";
    public override string KeyFurther => "If you have a key in the list already, add --of and its name: the keys of one person count once. Then the list is released, as every change of it:";
    public override string KeyRevoked => "It was revoked, and a release with its signature would be refused. Forget it here and make another one.";
    public override string KeyOtherName => "The trust list has another key under this name, or this key under another one. Forget it here and make one with a name of its own.";
    public override string KeyForget => "Forget this key";
    public override string KeyForgetSays => "The key is deleted from this browser, and there is no copy. What it approved stays approved. Have it revoked in the trust list too.";
    public override string KeyForgetYes => "Delete it";
    public override string KeyKeep => "Keep it";
    public override string SeeChanges => "See what it changes";
    public override string ReleaseChangesTitle(string version) => $"What {version} changes";
    public override string ChangedSince(string version) => $"Changes since {version}";
    public override string ChangedFromNothing => "Nothing was released before: all of it is new";
    public override string MoreChanges(int count) => $"and {count} more changes; see them with yizhan config diff";
    public override string MoreSites(int count) => $"and {count} more sites; see them with yizhan config diff";
    public override string SitesUnchanged(int count) => $"Sites that do not change: {count}";
    public override string SitesGone(string sites) => $"No longer in the release: {sites}";
    public override string TrustChanges => "It changes whose signatures count:";
    public override string YouProposed => "You proposed it, so somebody else has to approve it.";
    public override string YouApproved => "You have approved it.";
    public override string ApproveLeaves(int count) => $"No site gets it yet: after your approval {count} more are needed.";
    public override string ApproveStarts(int sites) => $"Yours is the last approval that is needed: its sites ({sites}) begin to install it at once, the first ring first. It can be stopped only by another release.";
    public override string ApproveAs(string key) => $"Approve as {key}";
    public override string ReleaseNotRead(string version) => $"The files of {version} could not be read. Try again; if it stays so, look into the log of the fleet.";
}
