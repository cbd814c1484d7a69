namespace Yizhan.Console.Language;

/// <summary>
/// Every sentence of the console. A language is a class, so that the compiler finds a missing text, and each can count and
/// order words in its own way.
/// </summary>
public abstract partial class Texts
{
    /// <summary>English.</summary>
    public static Texts English { get; } = new EnglishTexts();

    /// <summary>Simplified Chinese.</summary>
    public static Texts Chinese { get; } = new ChineseTexts();

    /// <summary>The languages, in the order in which they are offered.</summary>
    public static IReadOnlyList<Texts> All { get; } = [English, Chinese];

    /// <summary>The language with this <see cref="Code"/>; null when there is none.</summary>
    public static Texts? Find(string? code) => All.FirstOrDefault(t => t.Code.Equals(code, StringComparison.OrdinalIgnoreCase));

#pragma warning disable CS1591 // Each name says what the text is for; repeating it would help nobody.
    public abstract string Code { get; }
    public abstract string HtmlLang { get; }
    public abstract string OwnName { get; }

    public abstract string Product { get; }
    public abstract string SkipToContent { get; }
    public abstract string Theme { get; }
    public abstract string ThemeSystem { get; }
    public abstract string ThemeLight { get; }
    public abstract string ThemeDark { get; }
    public abstract string SignOut { get; }
    public abstract string SignedInAs(string name, string grants);
    public abstract string Reconnecting { get; }
    public abstract string PageFailed { get; }
    public abstract string Reload { get; }
    public abstract string NotFoundTitle { get; }
    public abstract string NotFoundHint { get; }

    public abstract string Live { get; }
    public abstract string LiveHint { get; }
    public abstract string Connecting { get; }
    public abstract string Interrupted { get; }
    public abstract string FleetService { get; }
    public abstract string PacsService { get; }
    public abstract string Unreachable(string service, string address);
    public abstract string Answered(string service, int status, string address);
    public abstract string NotUnderstood(string service, string address);
    public abstract string RetryIn(int seconds);
    public abstract string Retrying { get; }
    public abstract string ShownAsOf(string time);
    public abstract string CheckService { get; }

    public abstract string Network { get; }
    public abstract string Sites { get; }
    public abstract string Studies { get; }
    public abstract string NewestFirst(int count);

    public abstract string SitesOnline { get; }
    public abstract string OfSites(int online, int total);
    public abstract string SpoolDepth { get; }
    public abstract string OldestWaiting { get; }
    public abstract string FullestLane { get; }
    public abstract string Percent(int value);
    public abstract string Left(string size);
    public abstract string NothingWaits { get; }
    public abstract string Entries(long count);
    public abstract string AtSite(string siteId);

    public abstract string Online { get; }
    public abstract string Offline { get; }
    public abstract string LastContact { get; }
    public abstract string Version { get; }
    public abstract string Configuration { get; }
    public abstract string OwnSettings { get; }
    public abstract string OnTrial { get; }
    public abstract string ConfigurationDrifts(string wanted);
    public abstract string OfflineHint { get; }
    public abstract string AllDelivered { get; }
    public abstract string OutageRoom { get; }
    public abstract string DeliveredShare { get; }
    public abstract string InQuarantine { get; }
    public abstract string DiskUse { get; }
    public abstract string CommitTime { get; }
    public abstract string Spool { get; }
    public abstract string Lane { get; }
    public abstract string Waiting { get; }
    public abstract string Size { get; }
    public abstract string Oldest { get; }
    public abstract string RoomLeft { get; }
    public abstract string LaneName(string lane);
    public abstract string LaneFull { get; }

    public abstract string Patient { get; }
    public abstract string PatientId { get; }
    public abstract string NoName { get; }
    public abstract string NoPatientId { get; }
    public abstract string Study { get; }
    public abstract string NoStudyDate { get; }
    public abstract string Modality { get; }
    public abstract string Content { get; }
    public abstract string Series(int count);
    public abstract string Instances(int count);
    public abstract string FirstStoredAt { get; }
    public abstract string Indexed { get; }

    public abstract string NoSitesTitle { get; }
    public abstract string NoSitesHint { get; }
    public abstract string NoStudiesTitle { get; }
    public abstract string NoStudiesHint { get; }
    public abstract string SendTo { get; }
    public abstract string DicomAddress { get; }
    public abstract string AeTitle { get; }
    public abstract string TryWithDcmtk { get; }
    public abstract string AskForAddress { get; }
    public abstract string Loading { get; }

    public abstract string DicomPeers { get; }
    public abstract string PeersKnown { get; }
    public abstract string PeersNotForYou { get; }
    public abstract string CalledAt { get; }
    public abstract string NeverCalled { get; }
    public abstract string MayAskFor { get; }
    public abstract string Everything { get; }
    public abstract string OpenAssociations { get; }
    public abstract string EchoTest { get; }
    public abstract string NoPeersTitle { get; }
    public abstract string NoPeersHint { get; }
    public abstract string Conflicts { get; }
    public abstract string ConflictsHint { get; }
    public abstract string NoConflicts { get; }
    public abstract string StudySays { get; }
    public abstract string InstancesSay { get; }
    public abstract string Decision { get; }
    public abstract string SamePatient { get; }
    public abstract string KeepApart { get; }
    public abstract string Destinations { get; }
    public abstract string NoDestinations { get; }
    public abstract string Destination { get; }
    public abstract string Delivered { get; }
    public abstract string FailedCopies { get; }
    public abstract string Reachable { get; }
    public abstract string Away { get; }
    public abstract string NotAway { get; }
    public abstract string Reason { get; }
    public abstract string TryAgain { get; }
    public abstract string GiveUp { get; }
    public abstract string GiveUpForGood { get; }
    public abstract string AnswersAfter(double milliseconds);
    public abstract string Attempts(int count);
    public abstract string NotDone(string reason);

    public abstract string JustNow { get; }
    public abstract string Ago(string duration);
    public abstract string Seconds(long count);
    public abstract string Minutes(long count);
    public abstract string Hours(long count);
    public abstract string Days(long count);

    public abstract string Audit { get; }
    public abstract string AuditService { get; }
    public abstract string FindRecords { get; }
    public abstract string WhoLookedHint { get; }
    public abstract string Who { get; }
    public abstract string StudyUid { get; }
    public abstract string Action { get; }
    public abstract string AnyAction { get; }
    public abstract string FromDay { get; }
    public abstract string ToDay { get; }
    public abstract string Search { get; }
    public abstract string Records { get; }
    public abstract string NoRecordMatches { get; }
    public abstract string Recorded { get; }
    public abstract string What { get; }
    public abstract string Proof { get; }
    public abstract string ProofVerified { get; }
    public abstract string ProofWrong { get; }
    public abstract string ProofMissing { get; }
    public abstract string LogSize { get; }
    public abstract string LastCheckpoint { get; }
    public abstract string SignatureChecked { get; }
    public abstract string LastVerification { get; }
    public abstract string NotYetVerified { get; }
    public abstract string AllAsSigned { get; }
    public abstract string LogIsWrong { get; }
    public abstract string WholeLog { get; }
    public abstract string VerifyNow { get; }
    public abstract string Verifying { get; }
    public abstract string NotSigned(string address);
    public abstract string EntryIsWrong(long index);
    public abstract string EntryAt(long index, string site);
    public abstract string ActionName(string code);
#pragma warning restore CS1591
}
