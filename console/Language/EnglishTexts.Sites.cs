namespace Yizhan.Console.Language;

internal sealed partial class EnglishTexts
{
    public override string SitesNotForYou => "Sites and their configuration are open to operators, auditors and site engineers. Ask an administrator for one of these roles.";
    public override string Attention => "Needs attention";
    public override string NothingToAttend => "Nothing needs attention.";
    public override string Alerts => "Alerts";
    public override string NoPrometheus => "No Prometheus is configured, so that no alerts are shown here. Name its address in the console's settings:";
    public override string NoAlerts => "Prometheus has no alert for this site.";
    public override string AlertSince => "since";
    public override string AlertState(string state) => state switch { "firing" => "firing", "pending" => "pending", _ => state };
    public override string SiteNow => "Now";
    public override string SiteLately => "Lately";
    public override string LastHour => "Last hour";
    public override string LastDay => "Last day";
    public override string LastWeek => "Last week";
    public override string PlotSaid(string last, string least, string most) => $"{last} now, from {least} to {most}";
    public override string PlotSilent => "no report in this time";
    public override string SiteStanding => "Licence, certificate and services";
    public override string CertificateUntil => "Certificate until";
    public override string Licence => "Licence";
    public override string NoSiteFile => "The site runs its own settings, and no release names its peers.";
    public override string EchoAtSite => "These peers answer the site, and not the centre. The page DICOM peers of the site's own console tests them, as this does at the site:";
    public override string Logs => "Logs";
    public override string LogsHint => "These are warnings and errors that the site has sent. The whole log stays there for 7 days; read it by the command of what runs the site:";
    public override string NoLogLines => "The site has sent no warning and no error.";
    public override string LogLevel(string level) => level switch { "critical" => "Critical", "error" => "Error", _ => "Warning" };
    public override string LogTimes(int count) => $"{count} times";
    public override string LogDropped(long lines) => $"{lines} more lines of the last 24 hours are at the site only.";
    public override string NoSuchSite => "No site of this name has reported";
    public override string SiteSilent(string duration) => $"It has not been heard for {duration}.";
    public override string LaneIsTight(string lane, string room) => $"{lane}: only {room} of room is left.";
    public override string ServiceIs(string service, string state) => $"{service} is {state}.";
    public override string EntriesInQuarantine(long count) => $"{count} entries are in quarantine and cannot be delivered.";
    public override string CertificateEnds(string time) => $"The certificate ends at {time}.";
    public override string LicenceIs(string state) => $"The licence is {state}.";
    public override string Releases => "Releases";
    public override string NoRelease => "No configuration has been released yet";
    public override string NoReleaseHint => "Sites run their own settings. A release holds the file of every site, is signed by who proposes it, and needs the signatures of others:";
    public override string EditSiteFile => "Edit a site file";
    public override string NewSite => "A new site";
    public override string SiteFile => "Site file (YAML)";
    public override string Faults => "Faults";
    public override string NoFaults => "The file is good.";
    public override string LineOf(int line) => $"Line {line}:";
    public override string Changes => "Changes against the last release";
    public override string NoChanges => "No change in meaning.";
    public override string HowToPropose => "Propose it";
    public override string KeysStay => "A release is proposed with your own key, which never leaves your machine. Put the file into your folder of site files and run the command there; others approve it here, or with the command.";
    public override string SaveFile(string name) => $"Save {name}";
    public override string SchemaHelp => "What a site file may say (* has to be there)";
    public override string Key => "Key";
    public override string Meaning => "Meaning";
    public override string AcceptedValues => "Accepted";
    public override string ProposedBy(string who) => $"proposed by {who}";
    public override string ApprovedBy(int count, int needed) => $"{count} of {needed} approvals";
    public override string ApproveWith => "To approve it here you need a key in this browser that is in the trust list (below). With a key on your machine, sign it there:";
    public override string ApproveNotForYou => "Somebody with the role site-engineer has to approve it with a key.";
    public override string Rings => "Share of the sites to which it is offered";
    public override string SitesRunning(int count, int total) => $"{count} of {total} sites run it";

    public override string HealthName(string state) => state switch
    {
        "healthy" => "healthy",
        "degraded" => "degraded",
        "unhealthy" => "not working",
        _ => state,
    };

    public override string LicenceName(string state) => state switch
    {
        "active" => "active",
        "grace" => "in its grace period",
        "lapsed" => "lapsed",
        "notyet" => "not valid yet",
        "forged" => "forged",
        "othersite" => "of another site",
        "otherhardware" => "of another machine",
        "superseded" => "superseded",
        _ => state,
    };

    public override string ReleaseStateName(string state) => state switch
    {
        "proposed" => "waits for approval",
        "rolling out" => "rolling out",
        "stopped" => "stopped",
        "complete" => "complete",
        "replaced" => "replaced",
        _ => state,
    };

    public override string SiteReleaseState(string state) => state switch
    {
        "applied" => "runs it",
        "on trial" => "on trial",
        "refused" => "refused it",
        "offered" => "offered",
        "waiting" => "waits",
        _ => state,
    };
}
