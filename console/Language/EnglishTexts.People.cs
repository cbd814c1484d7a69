namespace Yizhan.Console.Language;

internal sealed partial class EnglishTexts
{
    public override string AuditNotForYou => "The audit log is open to auditors. Ask an administrator for the role auditor at this site.";
    public override string People => "People";
    public override string PeopleService => "The issuer";
    public override string PeopleNotForYou => "Accounts are managed by administrators, and emergency access is reviewed by auditors. Your roles are neither.";
    public override string EmergencyReviews => "Emergency access to review";
    public override string EmergencyReviewsHint => "Somebody opened records with a reason instead of a right. Say what you found; nobody reviews their own access, and the verdict is kept in the audit log.";
    public override string NoEmergencyReviews => "No emergency access waits for review.";
    public override string ReasonGiven => "Reason given";
    public override string AccessFromTo => "From, until";
    public override string Verdict => "Verdict";
    public override string CloseReview => "Close the review";
    public override string Accounts => "Accounts";
    public override string AccountName => "Name";
    public override string ShownName => "Shown as";
    public override string RolesAtSites => "Roles at sites";
    public override string RolesExample => "For example: radiographer@lakeside auditor@*";
    public override string AccountState => "State";
    public override string AccountOpen => "open";
    public override string AccountClosed => "closed";
    public override string MustChangePassword => "has to choose a password";
    public override string SaveRoles => "Save roles";
    public override string CloseAccount => "Close the account";
    public override string OpenAccount => "Open it again";
    public override string CloseAccountHint => "At the centre it ends at once, and at a site with the next list that reaches it.";
    public override string AddAccount => "Add an account";
    public override string Add => "Add";

    public override string FirstPassword(string name) => $"The first password of {name}, shown once, to be replaced at the first sign-in:";
}
