namespace Yizhan.PacsGw.Receive;

/// <summary>Where instances come from: one association, or one STOW-RS request.</summary>
/// <param name="callingAeTitle">Who sends.</param>
/// <param name="calledAeTitle">Whom it asked for.</param>
/// <param name="address">Its network address.</param>
/// <param name="id">Groups what came together.</param>
/// <param name="agent">Who signed in; null where there is only the AE title.</param>
internal sealed class IntakeSource(string callingAeTitle, string calledAeTitle, string? address, string id, string? agent = null)
{
    private const int MaxStudies = 1024;

    private readonly Lock _gate = new();
    private readonly HashSet<string> _studies = [];

    public string CallingAeTitle { get; } = callingAeTitle;

    /// <summary>Who, for the audit log.</summary>
    public string Agent { get; } = agent ?? callingAeTitle;

    public string CalledAeTitle { get; } = calledAeTitle;

    public string? Address { get; } = address;

    public string Id { get; } = id;

    /// <summary>True until an entry for this study was recorded. Two may get true at once: their entries have one id, and the log keeps one.</summary>
    public bool NeedsAudit(string study)
    {
        lock (_gate)
        {
            return !_studies.Contains(study);
        }
    }

    /// <summary>Remembers that the study's entry is durable. Forgets all when there are too many, for the same reason harmless.</summary>
    public void Audited(string study)
    {
        lock (_gate)
        {
            if (_studies.Count == MaxStudies)
            {
                _studies.Clear();
            }

            _studies.Add(study);
        }
    }
}
