using System.Diagnostics.Metrics;
using Microsoft.Extensions.Options;
using Yizhan.Platform;
using Yizhan.Transcripts;

namespace Yizhan.NmtAsr.Quality;

/// <summary>
/// Errors that people corrected and that golden sets found, by dialect: <c>yizhan_asr_word_errors_total</c> and <c>yizhan_asr_reference_words_total</c>, which the alert P2 divides. Counted are mixed tokens
/// (Han character, word, number). Only dialects that a route or a pack names are labels, so there are few.
/// </summary>
internal sealed class ErrorFigures : IDisposable
{
    private readonly Meter _meter;
    private readonly Counter<long> _errors;
    private readonly Counter<long> _words;
    private readonly string _site;

    public ErrorFigures(IMeterFactory factory, IOptions<NodeOptions> node)
    {
        _meter = factory.Create("Yizhan.NmtAsr");
        _site = node.Value.SiteId;
        _errors = _meter.CreateCounter<long>("yizhan.asr.word.errors", null, "Substitutions, deletions and insertions that corrections and golden sets found, by site, dialect and source.");
        _words = _meter.CreateCounter<long>("yizhan.asr.reference.words", null, "Tokens of the text that is right, by site, dialect and source.");
    }

    /// <summary>Compares a draft with what a person made of it. A text too long to align is not counted.</summary>
    public static ErrorCounts Count(string draft, string corrected)
    {
        var (reference, hypothesis) = (TranscriptTokens.Mixed(corrected), TranscriptTokens.Mixed(draft));
        return reference.Count > Alignment.MaxTokens || hypothesis.Count > Alignment.MaxTokens ? default : Alignment.Count(reference, hypothesis, AlignmentCost.Sclite);
    }

    /// <summary>Adds what was corrected.</summary>
    /// <param name="dialect">What was spoken.</param>
    /// <param name="source"><c>correction</c> of a person, or <c>golden</c> set.</param>
    /// <param name="counts">What was found.</param>
    public void Add(string dialect, string source, ErrorCounts counts)
    {
        _errors.Add(counts.Errors, new("site", _site), new("dialect", dialect), new("source", source));
        _words.Add(counts.Reference, new("site", _site), new("dialect", dialect), new("source", source));
    }

    /// <inheritdoc/>
    public void Dispose() => _meter.Dispose();
}
