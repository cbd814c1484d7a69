using System.Collections.Frozen;
using System.Diagnostics.CodeAnalysis;

namespace Yizhan.Platform.Identity;

/// <summary>What a route may ask of its caller. A role is a set of these; nobody is given one alone.</summary>
[Flags]
[SuppressMessage("Naming", "CA1711", Justification = "It is what it says; code access security is no more.")]
public enum Permission : long
{
    /// <summary>Nothing: not accepted by a route.</summary>
    None = 0,

    /// <summary>Open the pages of the console.</summary>
    UseConsole = 1 << 0,

    /// <summary>Search and read studies, work items and images.</summary>
    ReadStudies = 1 << 1,

    /// <summary>Store instances, change work items, decide whose study it is.</summary>
    WriteStudies = 1 << 2,

    /// <summary>Ask other DICOM nodes, send to them, repeat or give up copies.</summary>
    UsePeers = 1 << 3,

    /// <summary>Schedule, change and cancel examinations.</summary>
    Schedule = 1 << 4,

    /// <summary>Read clinical records (FHIR).</summary>
    ReadRecords = 1 << 5,

    /// <summary>Write clinical records (FHIR).</summary>
    WriteRecords = 1 << 6,

    /// <summary>Search, prove and export the audit log.</summary>
    ReadAudit = 1 << 7,

    /// <summary>Append to the audit log.</summary>
    WriteAudit = 1 << 8,

    /// <summary>Erase what the audit log says about a person, place and lift holds.</summary>
    EraseSubjects = 1 << 9,

    /// <summary>See sites, their state and their releases.</summary>
    ReadFleet = 1 << 10,

    /// <summary>Propose and approve configuration releases (signed by keys of their own).</summary>
    ReleaseConfiguration = 1 << 11,

    /// <summary>See the spool of a site: what waits, in which lane, without its content.</summary>
    ReadSpool = 1 << 12,

    /// <summary>Put entries of the spool aside and send them again.</summary>
    ManageSpool = 1 << 13,

    /// <summary>Back up, verify and renew the event log.</summary>
    MaintainLog = 1 << 14,

    /// <summary>Follow the whole event log: all that every site has sent.</summary>
    ReadEvents = 1 << 15,

    /// <summary>Read stock, orders and devices.</summary>
    ReadStock = 1 << 16,

    /// <summary>Book stock and orders.</summary>
    ChangeStock = 1 << 17,

    /// <summary>Ask models for a finding, read what they answered.</summary>
    UseModels = 1 << 18,

    /// <summary>Add, change and disable users.</summary>
    ManageUsers = 1 << 19,

    /// <summary>Add, load and unload models.</summary>
    ManageModels = 1 << 21,

    /// <summary>Enrol, renew and revoke machines; issue licences.</summary>
    ManageMachines = 1 << 20,

    /// <summary>Read what a site needs to sign people in without the centre: names, roles, hashes of passwords.</summary>
    ReadAccounts = 1 << 22,

    /// <summary>Look at emergency access that was taken, and close it.</summary>
    ReviewEmergencies = 1 << 23,

    /// <summary>Take studies, series and instances out of an archive.</summary>
    DeleteStudies = 1 << 24,

    /// <summary>Append to the event log of another process, read it and its blobs. For services by their certificate alone: no role of a token has it.</summary>
    ShareLog = 1 << 25,

    /// <summary>Receive, confirm and release entries of the event log of another process. Like <see cref="ShareLog"/>; no line of the flow list gives it.</summary>
    KeepLog = 1 << 26,

    /// <summary>Call in the name of a person who has signed in at the caller. For services by their certificate alone.</summary>
    SpeakForPeople = 1 << 27,
}

/// <summary>The roles and what each may do. A role counts only at the sites to which its holder is bound.</summary>
public static class Roles
{
    /// <summary>Everything, for the first start and for <c>yizhan</c> on the node itself.</summary>
    public const string Admin = "admin";

    // All that people and tokens can have: up to here, and not what comes behind it.
    private const Permission Everything = (Permission)((long)Permission.DeleteStudies * 2 - 1);

    private static readonly FrozenDictionary<string, Permission> All = new Dictionary<string, Permission>
    {
        // Keeps the network running and sees no patient.
        ["operator"] = Permission.UseConsole | Permission.ReadFleet | Permission.ReadSpool | Permission.ManageSpool | Permission.MaintainLog
            | Permission.ReadStock,
        ["clinician"] = Permission.UseConsole | Permission.ReadStudies | Permission.ReadRecords | Permission.WriteRecords | Permission.Schedule
            | Permission.UseModels | Permission.ReadStock | Permission.ChangeStock,
        ["radiographer"] = Permission.UseConsole | Permission.ReadStudies | Permission.WriteStudies | Permission.DeleteStudies | Permission.UsePeers
            | Permission.Schedule | Permission.ReadRecords | Permission.ReadStock | Permission.ChangeStock,
        ["auditor"] = Permission.UseConsole | Permission.ReadAudit | Permission.ReadFleet | Permission.ReviewEmergencies,

        // Looks after the machines of a site: its line, its spool, its devices.
        ["site-engineer"] = Permission.UseConsole | Permission.ReadFleet | Permission.ReadSpool | Permission.ManageSpool | Permission.MaintainLog
            | Permission.ReleaseConfiguration | Permission.ManageMachines | Permission.ManageModels | Permission.UseModels | Permission.ReadStock,

        // Another program: it has no pages, no users and no keys to give.
        ["service"] = Permission.ReadStudies | Permission.WriteStudies | Permission.UsePeers | Permission.Schedule | Permission.ReadRecords
            | Permission.WriteRecords | Permission.WriteAudit | Permission.ReadFleet | Permission.ReadEvents | Permission.ReadSpool
            | Permission.ReadStock | Permission.ChangeStock | Permission.UseModels,

        // The program that carries accounts to the sites, and nothing else.
        ["directory"] = Permission.ReadAccounts,
        [Admin] = Everything,
    }.ToFrozenDictionary(StringComparer.Ordinal);

    /// <summary>Their names, sorted.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. All.Keys.Order(StringComparer.Ordinal)];

    /// <summary>What a role may do; nothing when there is no such role.</summary>
    public static Permission Of(string role) => All.GetValueOrDefault(role);

    /// <summary>What a role may do that a line of the flow list gives to a service: those of tokens, and those that no token can have.</summary>
    public static Permission OfService(string role) => role switch
    {
        "log" => Permission.ShareLog,
        "log-keeper" => Permission.ShareLog | Permission.KeepLog,
        "people" => Permission.SpeakForPeople,
        Admin => Permission.None,
        _ => Of(role),
    };

    /// <summary>Names that <see cref="OfService"/> knows.</summary>
    public static IReadOnlyList<string> NamesOfServices { get; } = [.. Names.Where(name => name != Admin), "log", "log-keeper", "people"];

    /// <summary>The roles that have a permission, for the message to somebody who lacks it.</summary>
    public static IEnumerable<string> With(Permission permission) => Names.Where(role => (Of(role) & permission) == permission);
}
