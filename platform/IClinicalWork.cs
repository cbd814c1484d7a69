namespace Yizhan.Platform;

/// <summary>What a service has under way that a restart of the node would cut off: an association, an analysis, a dictation.</summary>
public interface IClinicalWork
{
    /// <summary>What it is, in one word and singular, such as <c>association</c>: part of a sentence for people.</summary>
    string Kind { get; }

    /// <summary>How many are under way now.</summary>
    int UnderWay { get; }

    /// <summary>How many were ever begun. It tells short work between two looks from none.</summary>
    long Begun { get; }
}
