namespace Yizhan.Platform;

/// <summary>What probes ask. <c>/healthz</c> says whether the node is whole; these two tell a balancer what to do with it.</summary>
public static class HealthPaths
{
    /// <summary>200 for as long as the process answers, also of one that waits as a standby or is draining.</summary>
    public const string Live = "/health/live";

    /// <summary>200 while requests are wanted here; 503 of a standby, from the moment that it was told to stop, and while a check fails.</summary>
    public const string Ready = "/health/ready";
}
