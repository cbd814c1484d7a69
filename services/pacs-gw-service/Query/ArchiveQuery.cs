using Yizhan.PacsGw.Archive;

namespace Yizhan.PacsGw.Query;

/// <summary>An attribute and what it must match. An empty value matches everything (PS3.4 §C.2.2.2.3).</summary>
internal readonly record struct MatchTerm(MatchKey Key, string Value);

/// <summary>What is searched for, whoever asks: QIDO-RS, C-FIND, or a retrieval that says which instances it wants.</summary>
internal class ArchiveQuery
{
    /// <summary>What one result is.</summary>
    public required ArchiveLevel Level { get; init; }

    /// <summary>One result for each patient instead of each study: the patient's newest study that matches. Only at study level.</summary>
    public bool PerPatient { get; init; }

    /// <summary>Only this study; null for all.</summary>
    public string? Study { get; init; }

    /// <summary>Only this series; null for all.</summary>
    public string? Series { get; init; }

    /// <summary>What results must match, all of it.</summary>
    public List<MatchTerm> Matches { get; } = [];

    /// <summary>Names match by the beginnings of their words, in any order and script (PS3.4 §C.2.2.2.1.1).</summary>
    public bool Fuzzy { get; set; }

    /// <summary>
    /// A range of dates and a range of times of the same event are one range of instants (PS3.4 §C.2.2.2.5.2): QIDO-RS always, C-FIND when negotiated.
    /// </summary>
    public bool CombinesDateAndTime { get; init; } = true;

    /// <summary>Results at most; one more is returned to tell that there is more.</summary>
    public int Limit { get; set; }

    /// <summary>Results to leave out first.</summary>
    public int Offset { get; set; }
}

/// <summary>A search cannot be made; the message is for the client and has no value from the search in it.</summary>
internal sealed class QueryException(string message) : Exception(message);
