namespace Yizhan.Contracts;

/// <summary>Whether a site may be restarted now.</summary>
/// <param name="Open">True: yes.</param>
/// <param name="Reasons">What is in the way, each a sentence; empty when nothing is.</param>
/// <param name="AllowedBy">Who said that it may be restarted although something is in the way; null when nobody did.</param>
/// <param name="WaitingSeconds">For how long something that wants to restart it has been told to wait; 0 when nothing waits.</param>
public sealed record UpdateGateView(bool Open, IReadOnlyList<string> Reasons, string? AllowedBy, long WaitingSeconds);

/// <summary>A person's leave to restart a site although it is not idle.</summary>
/// <param name="By">Who, 1 to 200 characters.</param>
/// <param name="Reason">Why, 1 to 1000 characters.</param>
/// <param name="Minutes">For how long, 1 to 240.</param>
public sealed record UpdateAllowance(string By, string Reason, int Minutes);
