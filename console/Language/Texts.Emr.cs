namespace Yizhan.Console.Language;

/// <summary>Texts of the page of medical record systems.</summary>
public abstract partial class Texts
{
#pragma warning disable CS1591
    public abstract string Emr { get; }
    public abstract string EmrService { get; }
    public abstract string EmrNotForYou { get; }
    public abstract string EmrMayNotDecide { get; }
    public abstract string EmrSystems { get; }
    public abstract string NoEmrSystemsTitle { get; }
    public abstract string NoEmrSystemsHint { get; }
    public abstract string EmrSystem { get; }
    public abstract string EmrDriver { get; }
    public abstract string DeadLetters { get; }
    public abstract string NoDeadLetters { get; }
    public abstract string DeadLettersHint { get; }
    public abstract string Unlinked { get; }
    public abstract string Orders { get; }
    public abstract string NoOrders { get; }
    public abstract string OrderNumber { get; }
    public abstract string OrderState { get; }
    public abstract string Ordered { get; }
    public abstract string OnTheirWay { get; }
    public abstract string NothingOnItsWay { get; }
    public abstract string Subject { get; }
    public abstract string Queued { get; }
    public abstract string SendAgain { get; }
    public abstract string FromThem { get; }
    public abstract string UnmappedCodes { get; }
    public abstract string NoUnmapped { get; }
    public abstract string UnmappedHint { get; }
    public abstract string LocalCode { get; }
    public abstract string Means { get; }
    public abstract string MeansModality { get; }
    public abstract string MeansSnomed { get; }
    public abstract string MeansText { get; }
    public abstract string MapIt { get; }
    public abstract string Identities { get; }
    public abstract string IdentitiesHint { get; }
    public abstract string NoIdentities { get; }
    public abstract string MayBe { get; }
    public abstract string Problem { get; }
    public abstract string DecisionReason { get; }
    public abstract string EarlierPage { get; }
    public abstract string LaterPage { get; }
    public abstract string OrdersCarryIt(long count);
    public abstract string OrderStateName(string state);
    public abstract string KindName(string kind);
    public abstract string Numbered(int first, int last);
#pragma warning restore CS1591
}
