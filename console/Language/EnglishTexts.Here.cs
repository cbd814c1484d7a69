namespace Yizhan.Console.Language;

internal sealed partial class EnglishTexts
{
    public override string ThisSite => "This site";
    public override string SiteNamed(string site) => $"Site {site}";
    public override string StationService => "The station of this site";
    public override string AiService => "The service of models";
    public override string LineState => "Line to the centre";
    public override string LineUp => "The line to the centre is up.";
    public override string LineDownSince(string time) => $"The line to the centre is down since {time}. All pages here work; what is done is kept and sent later.";
    public override string LineDownFor(string duration) => $"The line to the centre has been down for {duration}.";
    public override string LineNotSeenSince(string time) => $"The centre has not answered since this node was started, {time}. All pages here work; what is done is kept and sent later.";
    public override string NoCentre => "This site has no centre: it keeps everything and sends nothing.";
    public override string LineUnknown => "How the line does is not known yet.";
    public override string NoContactYet => "none yet";
    public override string OwnOfflineHint => "This site works on by itself. What waits is sent when the line is back.";
    public override string ModelsOfSiteHint => "The models of this site. A change is done here at once, with or without a line; the centre hears of it.";
    public override string NoModelsHere => "There is no model at this site.";
    public override string OfCentreTitle => "This page is at the centre";
    public override string OfCentre(string site) => $"The network of all sites, releases and their rings, people and drills are looked after at the centre. This is the console of site {site}, which works without it.";
    public override string OpenCentre => "Open the console of the centre";
    public override string AskAtCentre => "Ask an operator of the centre for its address.";
    public override string BackToSite => "Go to the page of this site";
    public override string SigningIn => "Signing in without the centre";
    public override string SignInHolds(string until, string left) => $"possible until {until} ({left} left)";
    public override string SignInHeld(string since) => $"not possible since {since}: the list of people is too old. The line brings a new one";
    public override string NoSignInList => "not possible: the centre has sent no list of people yet";
    public override string EmergencyAccess => "Emergency access";
    public override string EmergencyHint => "When a patient cannot wait and your roles do not let you see what you need: it is recorded and reviewed.";
    public override string EmergencyUntil(string time) => $"Emergency access until {time}. All that you do is recorded, and somebody else reviews why.";
    public override string EmergencyOver => "The emergency access is over.";
    public override string SignIn => "Sign in";
}
