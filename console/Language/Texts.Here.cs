namespace Yizhan.Console.Language;

/// <summary>Texts of a site's own console.</summary>
public abstract partial class Texts
{
#pragma warning disable CS1591
    public abstract string ThisSite { get; }
    public abstract string SiteNamed(string site);
    public abstract string StationService { get; }
    public abstract string AiService { get; }
    public abstract string LineState { get; }
    public abstract string LineUp { get; }
    public abstract string LineDownSince(string time);
    public abstract string LineDownFor(string duration);
    public abstract string LineNotSeenSince(string time);
    public abstract string NoCentre { get; }
    public abstract string LineUnknown { get; }
    public abstract string NoContactYet { get; }
    public abstract string OwnOfflineHint { get; }
    public abstract string ModelsOfSiteHint { get; }
    public abstract string NoModelsHere { get; }
    public abstract string OfCentreTitle { get; }
    public abstract string OfCentre(string site);
    public abstract string OpenCentre { get; }
    public abstract string AskAtCentre { get; }
    public abstract string BackToSite { get; }
    public abstract string SigningIn { get; }
    public abstract string SignInHolds(string until, string left);
    public abstract string SignInHeld(string since);
    public abstract string NoSignInList { get; }
    public abstract string EmergencyAccess { get; }
    public abstract string EmergencyHint { get; }
    public abstract string EmergencyUntil(string time);
    public abstract string EmergencyOver { get; }
    public abstract string SignIn { get; }
}
