namespace Yizhan.Console.Language;

/// <summary>Texts of the page of stock.</summary>
public abstract partial class Texts
{
#pragma warning disable CS1591
    public abstract string Inventory { get; }
    public abstract string InventoryService { get; }
    public abstract string InventoryNotForYou(string roles);
    public abstract string CountStock { get; }
    public abstract string StockSite { get; }
    public abstract string AllSites { get; }
    public abstract string ItemOrLot { get; }
    public abstract string FindStock { get; }
    public abstract string Stock { get; }
    public abstract string NothingFound(string search);
    public abstract string NoStockTitle { get; }
    public abstract string NoStockHint { get; }
    public abstract string StockItem { get; }
    public abstract string Lot { get; }
    public abstract string Expiry { get; }
    public abstract string OnHand { get; }
    public abstract string StockPlace { get; }
    public abstract string OverTime { get; }
    public abstract string ShowPlot { get; }
    public abstract string ClosePlot { get; }
    public abstract string Recalled { get; }
    public abstract string Expired { get; }
    public abstract string Download { get; }
    public abstract string StockAs(string format);
    public abstract string MovementsAs(string format);
    public abstract string Shortages { get; }
    public abstract string ChooseSite { get; }
    public abstract string NoShortages { get; }
    public abstract string ShortageMethod { get; }
    public abstract string Usable { get; }
    public abstract string UsedPerDay { get; }
    public abstract string DaysOfCover { get; }
    public abstract string RunsOut { get; }
    public abstract string ReorderAt { get; }
    public abstract string WillExpireUnused { get; }
    public abstract string NotKnownYet { get; }
    public abstract string ExpiryCalendar { get; }
    public abstract string NothingExpires(int days);
    public abstract string RecallSearch { get; }
    public abstract string LotRecalled { get; }
    public abstract string OnlyItem { get; }
    public abstract string FindLot { get; }
    public abstract string LotNeverSeen(string lot);
    public abstract string LotWasAt(int sites);
    public abstract string StillThere { get; }
    public abstract string NothingLeft { get; }
    public abstract string UsedFor { get; }
    public abstract string UsedForNobody { get; }
    public abstract string UsedPatient { get; }
    public abstract string UsedStudy { get; }
    public abstract string UsedQuantity { get; }
    public abstract string UsedWhen { get; }
    public abstract string Freshness { get; }
    public abstract string FreshnessHint { get; }
    public abstract string NoSourcesTitle { get; }
    public abstract string NoSourcesHint { get; }
    public abstract string StockSource { get; }
    public abstract string LastComplete { get; }
    public abstract string LastTried { get; }
    public abstract string HowItWent { get; }
    public abstract string StaleSource { get; }
    public abstract string PreviousPage { get; }
    public abstract string NextPage { get; }
    public abstract string OutcomeName(string outcome);
    public abstract string StockOverDays(int days, string first, string last, string least, string most);
#pragma warning restore CS1591
}
