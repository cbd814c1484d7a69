using System.Text.Json;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.Options;
using Yizhan.Platform.Identity;

namespace Yizhan.NmtAsr.Translation;

/// <summary>A language and into what it is translated; an element of <c>GET /languages</c>.</summary>
internal sealed record LanguageView(string Code, string Name, IReadOnlyList<string> Targets);

/// <summary>What language a text is in.</summary>
internal sealed record DetectedView(double Confidence, string Language);

/// <summary>An answer to one text. <paramref name="Sentences"/> and <paramref name="Unverified"/> are ours; LibreTranslate's clients do not read them.</summary>
internal sealed record TranslationView(string TranslatedText, DetectedView? DetectedLanguage, IReadOnlyList<TranslatedSentence> Sentences, int Unverified, string? Model);

/// <summary>The same for several texts.</summary>
internal sealed record TranslationsView(IReadOnlyList<string> TranslatedText, IReadOnlyList<DetectedView>? DetectedLanguage, IReadOnlyList<IReadOnlyList<TranslatedSentence>> Sentences, int Unverified, string? Model);

/// <summary>What LibreTranslate's clients expect of a refusal.</summary>
internal sealed record TranslationError(string Error);

/// <summary>The interface of LibreTranslate's clients, relative to <c>/nmt-asr/</c>: <c>languages</c>, <c>detect</c>, <c>translate</c>. Bodies are JSON or forms.</summary>
internal static class TranslationEndpoints
{
    private const int MaxTexts = 100;

    public static void Map(IEndpointRouteBuilder routes)
    {
        routes.MapGet("/languages", Languages).Needs(Permission.UseModels);
        routes.MapPost("/detect", DetectAsync).Needs(Permission.UseModels).DisableAntiforgery();
        routes.MapPost("/translate", TranslateAsync).Needs(Permission.UseModels).DisableAntiforgery();
    }

    private static Ok<IReadOnlyList<LanguageView>> Languages() => TypedResults.Ok<IReadOnlyList<LanguageView>>(
        [.. Translator.Languages.Select(l => new LanguageView(l, l == "zh" ? "Chinese" : "English", Translator.Targets(l)))]);

    private static async Task<Results<Ok<IReadOnlyList<DetectedView>>, JsonHttpResult<TranslationError>>> DetectAsync(HttpContext context, IOptions<NmtAsrOptions> options, CancellationToken cancellationToken)
    {
        var (fields, texts, problem) = await ReadAsync(context, options.Value, cancellationToken);
        return problem is not null || fields is null ? Refuse(problem!) : TypedResults.Ok<IReadOnlyList<DetectedView>>([.. texts.Select(Detect)]);
    }

    private static async Task<Results<Ok<TranslationView>, Ok<TranslationsView>, JsonHttpResult<TranslationError>>> TranslateAsync(
        HttpContext context, Translator translator, IOptions<NmtAsrOptions> options, CancellationToken cancellationToken)
    {
        var (fields, texts, problem) = await ReadAsync(context, options.Value, cancellationToken);
        if (problem is not null || fields is null)
        {
            return Refuse(problem!);
        }

        var (source, target) = (Code(fields.GetValueOrDefault("source", "auto")), Code(fields.GetValueOrDefault("target", "")));
        if (source != "auto" && !Translator.Languages.Contains(source))
        {
            return Refuse($"source is '{Short(source)}'; accepted: auto, {string.Join(", ", Translator.Languages)}.");
        }

        if (!Translator.Languages.Contains(target))
        {
            return Refuse($"target is '{Short(target)}'; accepted: {string.Join(", ", Translator.Languages)}.");
        }

        if (fields.GetValueOrDefault("format", "text") != "text")
        {
            return Refuse($"format is '{Short(fields["format"])}'; accepted: text.");
        }

        var marks = fields.GetValueOrDefault("marks", "true") != "false";
        var (made, detected) = (new List<IReadOnlyList<TranslatedSentence>>(), new List<DetectedView>());
        var from = source;
        foreach (var text in texts)
        {
            if (source == "auto")
            {
                detected.Add(Detect(text));
                from = detected[^1].Language;
            }

            made.Add(from == target ? [new TranslatedSentence(text, text, "same", [])] : await translator.TranslateAsync(text, from, target, cancellationToken));
        }

        var (unverified, model) = (made.Sum(m => m.Count(s => s.Problems.Count > 0)), from == target ? null : translator.ModelOf(from, target));
        return fields.ContainsKey("[]")
            ? TypedResults.Ok(new TranslationsView([.. made.Select(m => Translator.Join(m, target, marks))], source == "auto" ? detected : null, made, unverified, model))
            : TypedResults.Ok(new TranslationView(Translator.Join(made[0], target, marks), detected.FirstOrDefault(), made[0], unverified, model));
    }

    /// <summary>Fields of the request by name and the texts of <c>q</c>; <c>[]</c> says that q was an array.</summary>
    private static async Task<(Dictionary<string, string>? Fields, IReadOnlyList<string> Texts, string? Problem)> ReadAsync(HttpContext context, NmtAsrOptions options, CancellationToken cancellationToken)
    {
        var most = options.MaxTranslateChars;
        var (fields, texts) = (new Dictionary<string, string>(StringComparer.Ordinal), new List<string>());
        if (context.Request.ContentLength > most * 6L + 64 * 1024)
        {
            return (null, texts, $"The request has {context.Request.ContentLength} bytes; accepted: texts of up to {most} characters together (nmt-asr:maxTranslateChars).");
        }

        try
        {
            if (context.Request.HasFormContentType)
            {
                foreach (var (name, values) in await context.Request.ReadFormAsync(cancellationToken))
                {
                    fields[name] = values.ToString();
                }

                texts.AddRange(fields.Remove("q", out var q) ? [q] : []);
            }
            else
            {
                using var body = await JsonDocument.ParseAsync(context.Request.Body, default, cancellationToken);
                foreach (var property in body.RootElement.ValueKind == JsonValueKind.Object ? body.RootElement.EnumerateObject().ToArray() : [])
                {
                    if (property.Name == "q" && property.Value.ValueKind == JsonValueKind.Array)
                    {
                        fields["[]"] = "";
                        texts.AddRange(property.Value.EnumerateArray().Select(v => v.ToString()));
                    }
                    else if (property.Name == "q")
                    {
                        texts.Add(property.Value.ToString());
                    }
                    else
                    {
                        fields[property.Name] = property.Value.ValueKind is JsonValueKind.True or JsonValueKind.False ? property.Value.GetBoolean() ? "true" : "false" : property.Value.ToString();
                    }
                }
            }
        }
        catch (Exception e) when (e is JsonException or InvalidDataException or BadHttpRequestException)
        {
            return (null, texts, "The body is neither JSON nor a form.");
        }

        return texts.Count is 0 or > MaxTexts ? (null, texts, $"q has {texts.Count} texts; accepted: a text, or an array of 1 to {MaxTexts}.")
            : texts.Sum(t => (long)t.Length) > most ? (null, texts, $"q has {texts.Sum(t => (long)t.Length)} characters; accepted: up to {most} (nmt-asr:maxTranslateChars).")
            : (fields, texts, null);
    }

    private static DetectedView Detect(string text)
    {
        var (language, confidence) = Translator.Detect(text);
        return new DetectedView(confidence, language);
    }

    // zh-CN and zh-Hans are what we write.
    private static string Code(string code) => code is "zh-CN" or "zh-Hans" or "zh_CN" or "zh-cn" ? "zh" : code is "en-US" or "en-GB" ? "en" : code;

    private static string Short(string text) => string.Concat(text.Where(c => !char.IsControl(c)).Take(32));

    private static JsonHttpResult<TranslationError> Refuse(string problem) => TypedResults.Json(new TranslationError(problem), SpeechJson.Default.TranslationError, statusCode: 400);
}
