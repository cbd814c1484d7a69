namespace Yizhan.EmrAdapter.Sources;

/// <summary>A system that is asked for orders and patients.</summary>
internal interface ISource : IDisposable
{
    /// <summary>Takes what is new. What cannot be taken is noted (<see cref="Intake.TryAsync"/>) and does not stop the rest.</summary>
    /// <exception cref="Fhir.FhirException">The system is away; nothing is lost, the next look begins where this one did.</exception>
    Task PollAsync(CancellationToken cancellationToken);

    /// <summary>Takes one thing that could not be taken before.</summary>
    /// <exception cref="FormatException">It still cannot.</exception>
    Task TakeAsync(string reference, CancellationToken cancellationToken);
}
