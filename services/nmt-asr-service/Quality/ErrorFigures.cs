using System.Diagnostics.Metrics;
using Microsoft.Extensions.Options;
using Yizhan.Platform;
using Yizhan.Transcripts;

namespace Yizhan.NmtAsr.Quality;

/// <summary>
/// Errors that people corrected, by dialect: <c>yizhan_asr_word_errors_total</c> and <c>yizhan_asr_reference_words_total</c>, which the alert P2 divides. Counted are mixed tokens
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
        _errors = _meter.CreateCounter<long>("yizhan.asr.word.errors", null, "Substitutions, deletions and insertions that corrections found, by site and dialect.");
        _words = _meter.CreateCounter<long>("yizhan.asr.reference.words", null, "Tokens of the corrected text, by site and dialect.");
    }

    /// <summary>Compares a draft with what a person made of it. A text too long to align is not counted.</summary>
    public static ErrorCounts Count(string draft, string corrected)
    {
        var (reference, hypothesis) = (TranscriptTokens.Mixed(corrected), TranscriptTokens.Mixed(draft));
        return reference.Count > Alignment.MaxTokens || hypothesis.Count > Alignment.MaxTokens ? default : Alignment.Count(reference, hypothesis, AlignmentCost.Sclite);
    }

    /// <summary>Adds what was corrected.</summary>
    public void Add(string dialect, ErrorCounts counts)
    {
        _errors.Add(counts.Errors, new("site", _site), new("dialect", dialect));
        _words.Add(counts.Reference, new("site", _site), new("dialect", dialect));
    }

    /// <inheritdoc/>
    public void Dispose() => _meter.Dispose();
}
