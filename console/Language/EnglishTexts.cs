using System.Globalization;

namespace Yizhan.Console.Language;

internal sealed partial class EnglishTexts : Texts
{
    public override string Code => "en";
    public override string HtmlLang => "en";
    public override string OwnName => "English";

    public override string Product => "Yizhan";
    public override string SkipToContent => "Skip to content";
    public override string Theme => "Theme";
    public override string SignOut => "Sign out";
    public override string SignedInAs(string name, string grants) => $"Signed in as {name} ({grants})";
    public override string ThemeSystem => "As the system";
    public override string ThemeLight => "Light";
    public override string ThemeDark => "Dark";
    public override string Reconnecting => "The connection to the console was lost. Connecting again…";
    public override string PageFailed => "This page has stopped because of an error.";
    public override string Reload => "Reload";
    public override string NotFoundTitle => "There is no such page";
    public override string NotFoundHint => "Go to the network page";

    public override string Live => "Live";
    public override string LiveHint => "What you see changes by itself as sites report and studies arrive.";
    public override string Connecting => "Connecting";
    public override string Interrupted => "Interrupted";
    public override string FleetService => "The site registry";
    public override string PacsService => "The image archive";
    public override string Unreachable(string service, string address) => $"{service} does not answer at {address}.";
    public override string Answered(string service, int status, string address) => $"{service} at {address} answered with HTTP status {status}.";
    public override string NotUnderstood(string service, string address) => $"{service} at {address} sent something that the console does not understand.";
    public override string RetryIn(int seconds) => $"Trying again in {seconds} s.";
    public override string Retrying => "Trying now…";
    public override string ShownAsOf(string time) => $"What is shown below is as of {time}.";
    public override string CheckService => "Nothing is lost: sites keep what they hold. Check that the service is running.";

    public override string Network => "Network";
    public override string Sites => "Sites";
    public override string Studies => "Studies";
    public override string NewestFirst(int count) => count == 1 ? "1, newest first" : $"latest {N(count)}, newest first";

    public override string SitesOnline => "Sites online";
    public override string OfSites(int online, int total) => $"{N(online)} of {N(total)}";
    public override string SpoolDepth => "Waiting in spools";
    public override string OldestWaiting => "Oldest waiting";
    public override string FullestLane => "Fullest lane";
    public override string Percent(int value) => $"{value} %";
    public override string Left(string size) => $"{size} left";
    public override string NothingWaits => "Nothing waits";
    public override string Entries(long count) => count == 1 ? "1 entry" : $"{N(count)} entries";
    public override string AtSite(string siteId) => $"at {siteId}";

    public override string Online => "Online";
    public override string Offline => "Offline";
    public override string LastContact => "Last contact";
    public override string Version => "Version";
    public override string Configuration => "Configuration";
    public override string OwnSettings => "of its own";
    public override string OnTrial => "on trial";
    public override string ConfigurationDrifts(string wanted) => $"{wanted} is meant for this site and does not run here yet.";
    public override string OfflineHint => "The site works on by itself. Figures are the last that it reported.";
    public override string OutageRoom => "Room for an outage of";
    public override string DeliveredShare => "Delivered";
    public override string InQuarantine => "In quarantine";
    public override string DiskUse => "Disk";
    public override string CommitTime => "Commit, 99 %";
    public override string AllDelivered => "Everything has been delivered";
    public override string Spool => "Spool";
    public override string Lane => "Lane";
    public override string Waiting => "Waiting";
    public override string Size => "Size";
    public override string Oldest => "Oldest";
    public override string RoomLeft => "Room left";
    public override string LaneFull => "Full";

    public override string LaneName(string lane) => lane switch
    {
        "urgent" => "Urgent",
        "normal" => "Normal",
        "bulk" => "Bulk",
        "telemetry" => "Telemetry",
        _ => lane,
    };

    public override string Patient => "Patient";
    public override string PatientId => "Patient ID";
    public override string NoName => "No name";
    public override string NoPatientId => "No ID";
    public override string Study => "Study";
    public override string NoStudyDate => "No date";
    public override string Modality => "Modality";
    public override string Content => "Content";
    public override string Series(int count) => $"{N(count)} series";
    public override string Instances(int count) => count == 1 ? "1 instance" : $"{N(count)} instances";
    public override string FirstStoredAt => "First stored at";
    public override string Indexed => "Indexed";

    public override string NoSitesTitle => "No site has reported yet";
    public override string NoSitesHint => "A site appears here with the first contact of its station. Start a station that is enrolled at this centre; nothing has to be entered here.";
    public override string NoStudiesTitle => "No study has arrived yet";
    public override string NoStudiesHint => "Send one from a modality, or from any DICOM program. It appears here as soon as its first image is indexed.";
    public override string SendTo => "Send to";
    public override string DicomAddress => "DICOM address";
    public override string AeTitle => "AE title";
    public override string TryWithDcmtk => "For example with dcmtk:";
    public override string AskForAddress => "The DICOM address and AE title are those of the gateway at the site; `yizhan up` prints them.";
    public override string Loading => "Loading…";

    public override string DicomPeers => "DICOM peers";
    public override string PeersNotForYou => "Your roles do not let you ask peers and decide about studies.";
    public override string PeersKnown => "Known to the gateway";
    public override string CalledAt => "Called at";
    public override string NeverCalled => "only calls us";
    public override string MayAskFor => "May ask for";
    public override string Everything => "everything";
    public override string OpenAssociations => "Associations";
    public override string EchoTest => "Echo test";
    public override string NoPeersTitle => "No peer is configured";
    public override string NoPeersHint => "Name the devices and archives that may connect in the settings of the gateway, under pacs-gw:peers.";
    public override string Conflicts => "Patients to decide about";
    public override string ConflictsHint => "These images say another patient than their study. They are safe, and out of the archive until somebody decides.";
    public override string NoConflicts => "Every image agrees with its study about the patient.";
    public override string StudySays => "The study says";
    public override string InstancesSay => "The images say";
    public override string Decision => "Decision";
    public override string SamePatient => "Same patient";
    public override string KeepApart => "Keep apart";
    public override string Destinations => "Routes";
    public override string NoDestinations => "The rules send no copies.";
    public override string Destination => "Destination";
    public override string Delivered => "Delivered";
    public override string FailedCopies => "Copies that were refused";
    public override string Reachable => "Connection";
    public override string Away => "Cannot be reached";
    public override string NotAway => "No problem known";
    public override string Reason => "Reason";
    public override string TryAgain => "Try again";
    public override string GiveUp => "Give up";
    public override string GiveUpForGood => "Give up for good?";
    public override string AnswersAfter(double milliseconds) => $"Answers after {milliseconds.ToString(CultureInfo.InvariantCulture)} ms.";
    public override string Attempts(int count) => count == 1 ? "1 attempt" : $"{N(count)} attempts";
    public override string NotDone(string reason) => $"That did not work: {reason}";

    public override string JustNow => "just now";
    public override string Ago(string duration) => $"{duration} ago";
    public override string Seconds(long count) => $"{count} s";
    public override string Minutes(long count) => $"{count} min";
    public override string Hours(long count) => $"{count} h";
    public override string Days(long count) => count == 1 ? "1 day" : $"{N(count)} days";

    public override string Audit => "Audit";
    public override string AuditService => "The audit log";
    public override string FindRecords => "Find records";
    public override string WhoLookedHint => "Who looked at this patient: fill in the patient ID alone. All fields that are filled in must match.";
    public override string Who => "Who";
    public override string StudyUid => "Study Instance UID";
    public override string Action => "Action";
    public override string AnyAction => "Any";
    public override string FromDay => "From";
    public override string ToDay => "To";
    public override string Search => "Search";
    public override string Records => "Records";
    public override string NoRecordMatches => "none matches";
    public override string Recorded => "Recorded";
    public override string What => "What";
    public override string Proof => "Proof";
    public override string ProofVerified => "Verified";
    public override string ProofWrong => "Not as signed";
    public override string ProofMissing => "No proof";
    public override string LogSize => "Size of the log";
    public override string LastCheckpoint => "Last checkpoint";
    public override string SignatureChecked => "signature checked";
    public override string LastVerification => "Last verification";
    public override string NotYetVerified => "Not yet";
    public override string AllAsSigned => "All as signed";
    public override string LogIsWrong => "Not as signed";
    public override string WholeLog => "The whole log";
    public override string VerifyNow => "Verify now";
    public override string Verifying => "Verifying…";
    public override string NotSigned(string address) => $"The checkpoint of the audit log at {address} is not signed by its key. Do not rely on it.";
    public override string EntryIsWrong(long index) => $"Entry {index} is wrong";
    public override string EntryAt(long index, string site) => $"entry {index} of {site}";

    public override string ActionName(string code) => code switch
    {
        "C" => "Create",
        "R" => "Read",
        "U" => "Update",
        "D" => "Delete",
        "E" => "Execute",
        _ => code,
    };

    private static string N(long count) => count.ToString("N0", CultureInfo.InvariantCulture);
}
