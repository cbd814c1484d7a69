namespace Yizhan.Console.Language;

/// <summary>Texts of the pages of people and audit.</summary>
public abstract partial class Texts
{
#pragma warning disable CS1591
    public abstract string AuditNotForYou { get; }
    public abstract string People { get; }
    public abstract string PeopleService { get; }
    public abstract string PeopleNotForYou { get; }
    public abstract string EmergencyReviews { get; }
    public abstract string EmergencyReviewsHint { get; }
    public abstract string NoEmergencyReviews { get; }
    public abstract string ReasonGiven { get; }
    public abstract string AccessFromTo { get; }
    public abstract string Verdict { get; }
    public abstract string CloseReview { get; }
    public abstract string Accounts { get; }
    public abstract string AccountName { get; }
    public abstract string ShownName { get; }
    public abstract string RolesAtSites { get; }
    public abstract string RolesExample { get; }
    public abstract string AccountState { get; }
    public abstract string AccountOpen { get; }
    public abstract string AccountClosed { get; }
    public abstract string MustChangePassword { get; }
    public abstract string SaveRoles { get; }
    public abstract string CloseAccount { get; }
    public abstract string OpenAccount { get; }
    public abstract string CloseAccountHint { get; }
    public abstract string AddAccount { get; }
    public abstract string Add { get; }
    public abstract string FirstPassword(string name);
}
