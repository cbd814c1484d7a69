namespace Yizhan.Console.Language;

/// <summary>Texts of the pages of a site and of configuration.</summary>
public abstract partial class Texts
{
#pragma warning disable CS1591
    public abstract string SitesNotForYou { get; }
    public abstract string Attention { get; }
    public abstract string NothingToAttend { get; }
    public abstract string Alerts { get; }
    public abstract string NoPrometheus { get; }
    public abstract string NoAlerts { get; }
    public abstract string AlertSince { get; }
    public abstract string AlertState(string state);
    public abstract string SiteNow { get; }
    public abstract string SiteLately { get; }
    public abstract string LastHour { get; }
    public abstract string LastDay { get; }
    public abstract string LastWeek { get; }
    public abstract string PlotSaid(string last, string least, string most);
    public abstract string PlotSilent { get; }
    public abstract string SiteStanding { get; }
    public abstract string CertificateUntil { get; }
    public abstract string Licence { get; }
    public abstract string NoSiteFile { get; }
    public abstract string EchoAtSite { get; }
    public abstract string Logs { get; }
    public abstract string LogsHint { get; }
    public abstract string NoLogLines { get; }
    public abstract string LogLevel(string level);
    public abstract string LogTimes(int count);
    public abstract string LogDropped(long lines);
    public abstract string NoSuchSite { get; }
    public abstract string SiteSilent(string duration);
    public abstract string LaneIsTight(string lane, string room);
    public abstract string ServiceIs(string service, string state);
    public abstract string EntriesInQuarantine(long count);
    public abstract string CertificateEnds(string time);
    public abstract string LicenceIs(string state);
    public abstract string Releases { get; }
    public abstract string NoRelease { get; }
    public abstract string NoReleaseHint { get; }
    public abstract string EditSiteFile { get; }
    public abstract string NewSite { get; }
    public abstract string SiteFile { get; }
    public abstract string Faults { get; }
    public abstract string NoFaults { get; }
    public abstract string LineOf(int line);
    public abstract string Changes { get; }
    public abstract string NoChanges { get; }
    public abstract string HowToPropose { get; }
    public abstract string KeysStay { get; }
    public abstract string SaveFile(string name);
    public abstract string SchemaHelp { get; }
    public abstract string Key { get; }
    public abstract string Meaning { get; }
    public abstract string AcceptedValues { get; }
    public abstract string ProposedBy(string who);
    public abstract string ApprovedBy(int count, int needed);
    public abstract string ApproveWith { get; }
    public abstract string ApproveNotForYou { get; }
    public abstract string Rings { get; }
    public abstract string SitesRunning(int count, int total);
    public abstract string HealthName(string state);
    public abstract string LicenceName(string state);
    public abstract string ReleaseStateName(string state);
    public abstract string SiteReleaseState(string state);
}
