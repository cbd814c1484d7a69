using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using Yizhan.NmtAsr.Translation;

namespace Yizhan.NmtAsr.Tests;

/// <summary>The shipped model, memory and guards behind the interface of LibreTranslate, over the given test set (TICO-19).</summary>
[Trait("Clause", "S4")]
public sealed partial class TranslationTests() : NodeTest("--nmt-asr:maxTranslateChars=500000")
{
    [Fact]
    public async Task Every_number_unit_negation_and_term_of_the_test_set_is_kept_or_the_sentence_is_flagged()
    {
        // The phrases between doctor and patient, and sentences with numbers. What has to be kept is read from the human translation, not from the source that the guards read.
        var pairs = Tico();
        var set = pairs.Where(p => p.Id.StartsWith("CMU", StringComparison.Ordinal)).Concat(pairs.Where(p => !p.Id.StartsWith("CMU", StringComparison.Ordinal) && Digits().IsMatch(p.Zh)).Take(60)).ToArray();
        Assert.True(set.Length >= 200, $"{set.Length} sentences");
        var (flagged, lost, numbers, negations, terms) = (0, new List<string>(), 0, 0, 0);
        using var http = Operator.Client(App, "/nmt-asr/");
        var glossary = new Glossary();
        glossary.Read(Path.Combine(Given.Root, "models", "speech", "zh-en", "1.0.0", "configs", "glossary.tsv"));
        foreach (var chunk in set.Chunk(50))
        {
            var answer = await TranslateAsync(http, new { q = chunk.Select(c => c.Zh).ToArray(), source = "zh", target = "en", marks = false });
            for (var i = 0; i < chunk.Length; i++)
            {
                var made = answer.GetProperty("translatedText")[i].GetString()!;
                if (answer.GetProperty("sentences")[i].EnumerateArray().Any(s => s.GetProperty("problems").GetArrayLength() > 0))
                {
                    flagged++;
                    continue;
                }

                var wanted = Digits().Matches(chunk[i].En).Select(m => m.Value.Replace(",", "", StringComparison.Ordinal)).ToArray();
                var there = made.Replace(",", "", StringComparison.Ordinal);
                numbers += wanted.Length;
                var denied = Denial().IsMatch(chunk[i].En);
                negations += denied ? 1 : 0;
                var named = glossary.Within(chunk[i].Zh, "zh").Select(t => t.Term).ToArray();
                terms += named.Length;
                if (wanted.Any(w => !there.Contains(w, StringComparison.Ordinal) && !Word(there, w)) || denied != Denial().IsMatch(made)
                    || named.Any(t => !t.English.Any(e => made.Contains(e, StringComparison.OrdinalIgnoreCase))))
                {
                    lost.Add($"{chunk[i].Zh} -> {made} (a person: {chunk[i].En})");
                }
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{set.Length} sentences, {flagged} flagged; in the others {numbers} numbers, {negations} negations, {terms} terms; lost in {lost.Count}.");
        Assert.Empty(lost);

        // Flagging everything would be easy.
        Assert.True(flagged < set.Length, "every sentence is flagged.");
    }

    [Fact]
    public void A_translation_of_a_person_with_one_fact_changed_is_always_flagged()
    {
        var (changed, missed) = (0, new List<string>());
        foreach (var (_, en, zh) in Tico())
        {
            if (Lost(zh, en).Length > 0)
            {
                continue;
            }

            foreach (var wrong in Changes(en))
            {
                changed++;
                if (Lost(zh, wrong).Length == 0)
                {
                    missed.Add($"{zh} | {wrong}");
                }
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{changed} changed translations, {missed.Count} not noticed.");
        Assert.True(changed > 500, $"{changed}");
        Assert.Empty(missed.Take(20));
    }

    [Theory]
    [InlineData("我有三十美元。", "I have three dollars.", "number")]
    [InlineData("每天服用500毫克。", "Take 500 g every day.", "unit")]
    [InlineData("患者没有发热。", "The patient has a fever.", "negation")]
    [InlineData("左腿骨折", "fracture of the right leg", "side")]
    [InlineData("两天后复查。", "Come back in two days.", "")]
    [InlineData("体温三十八点五度", "temperature 38.5 degrees", "")]
    [InlineData("您是不是头痛？", "Do you have a headache?", "")]
    [InlineData("百分之二十的患者", "20% of the patients", "")]
    [InlineData("每日两次，每次一片", "twice a day, one tablet each time", "")]
    [InlineData("一百四十毫米汞柱", "140 mmHg", "")]
    [InlineData("三万人", "30,000 people", "")]
    public void Facts_are_compared_across_the_languages(string zh, string en, string problems) => Assert.Equal(problems, string.Join(' ', Lost(zh, en)));

    [Fact]
    public async Task Phrases_of_people_take_other_numbers_and_terms_both_ways_and_never_make_them_up()
    {
        using var http = Operator.Client(App, "/nmt-asr/");
        var one = await TranslateAsync(http, new { q = "每天服用布洛芬200毫克。", source = "zh", target = "en" });
        Assert.Equal(("Take 200 mg of ibuprofen every day.", "phrase", 0), (one.GetProperty("translatedText").GetString(), one.GetProperty("sentences")[0].GetProperty("origin").GetString(), one.GetProperty("unverified").GetInt32()));
        var back = await TranslateAsync(http, new { q = "Are you allergic to penicillin?", source = "auto", target = "zh" });
        Assert.Equal("您对青霉素过敏吗", back.GetProperty("translatedText").GetString());
        Assert.Equal("en", back.GetProperty("detectedLanguage").GetProperty("language").GetString());

        // Nobody has translated this into Chinese, and no model is here for it: said, not guessed.
        var none = await TranslateAsync(http, new { q = "The surgeon removed the gallbladder.", source = "en", target = "zh" });
        Assert.Equal("[未核实: not-translated] The surgeon removed the gallbladder.", none.GetProperty("translatedText").GetString());

        // Of the likeliest drafts the one is taken that keeps the number; where none does, the sentence is marked.
        var kept = await TranslateAsync(http, new { q = "我有三十美元。", source = "zh", target = "en" });
        Assert.Equal("I have thirty dollars.", kept.GetProperty("translatedText").GetString());
        var marked = await TranslateAsync(http, new { q = "他早上吃了0.125毫克地高辛。", source = "zh", target = "en" });
        Assert.Equal((1, "model"), (marked.GetProperty("unverified").GetInt32(), marked.GetProperty("sentences")[0].GetProperty("origin").GetString()));
        Assert.StartsWith("[unverified: ", marked.GetProperty("translatedText").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Clients_of_LibreTranslate_get_what_they_expect_and_bad_input_is_refused_with_what_would_be_accepted()
    {
        using var http = Operator.Client(App, "/nmt-asr/");
        var languages = await http.GetFromJsonAsync<JsonElement>("languages", Cancel);
        Assert.Equal(["zh", "en"], languages.EnumerateArray().Select(l => l.GetProperty("code").GetString()));
        using var form = await http.PostAsync("translate", new FormUrlEncodedContent([new("q", "患者胸痛5天"), new("source", "zh"), new("target", "en"), new("format", "text"), new("api_key", "")]), Cancel);
        Assert.Equal("The patient has had chest pain for 5 days.", (await form.Content.ReadFromJsonAsync<JsonElement>(Cancel)).GetProperty("translatedText").GetString());
        using var detect = await http.PostAsJsonAsync("detect", new { q = "胸痛" }, Cancel);
        Assert.Equal("zh", (await detect.Content.ReadFromJsonAsync<JsonElement>(Cancel))[0].GetProperty("language").GetString());
        foreach (var (body, problem) in new (object, string)[]
        {
            (new { q = "x", source = "zh", target = "fr" }, "target is 'fr'; accepted: zh, en."), (new { q = "x", source = "xx", target = "en" }, "source is 'xx'"),
            (new { source = "zh", target = "en" }, "q has 0 texts"), (new { q = new string('字', 1024 * 1024), source = "zh", target = "en" }, "accepted"),
            (new { q = "x", source = "zh", target = "en", format = "html" }, "format is 'html'; accepted: text."),
        })
        {
            using var refused = await http.PostAsJsonAsync("translate", body, Cancel);
            Assert.Equal(400, (int)refused.StatusCode);
            Assert.Contains(problem, (await refused.Content.ReadFromJsonAsync<JsonElement>(Cancel)).GetProperty("error").GetString(), StringComparison.Ordinal);
        }

        using var nonsense = await http.PostAsync("translate", new StringContent("{", Encoding.UTF8, "application/json"), Cancel);
        Assert.Equal(400, (int)nonsense.StatusCode);

        // A megabyte without the end of a sentence is no sentence: answered at once, and said not to be translated.
        var endless = string.Concat(Enumerable.Repeat("我们去学校，", 1024 * 1024 / 18 + 1));
        Assert.True(Encoding.UTF8.GetByteCount(endless) > 1024 * 1024);
        var untouched = await TranslateAsync(http, new { q = endless, source = "zh", target = "en", marks = false });
        Assert.Equal(endless, untouched.GetProperty("translatedText").GetString());
        Assert.Equal(("none", "not-translated"), (untouched.GetProperty("sentences")[0].GetProperty("origin").GetString(), untouched.GetProperty("sentences")[0].GetProperty("problems")[0].GetString()));

        // One sentence far too long for the model is cut and says that it is; control characters reach nobody.
        var longOne = await TranslateAsync(http, new { q = string.Concat(Enumerable.Repeat("我们去学校，", 60)) + "\u0007\u001b[31m", source = "zh", target = "en" });
        Assert.Contains("unsure", longOne.GetProperty("sentences")[0].GetProperty("problems").EnumerateArray().Select(p => p.GetString()));
        Assert.DoesNotContain(longOne.GetProperty("translatedText").GetString()!, char.IsControl);
    }

    private static string[] Lost(string zh, string en) => [.. TextFacts.Lost(TextFacts.Of(zh, "zh"), TextFacts.Of(en, "en"))];

    /// <summary>The same translation with a number, a unit, a negation or a side that is another one.</summary>
    private static IEnumerable<string> Changes(string en)
    {
        if (Regex.Match(en, @"(?<![\w.,-])[3-9]\d*(?![\w.,-])") is { Success: true } number)
        {
            yield return string.Concat(en.AsSpan(0, number.Index), "7" + number.Value, en.AsSpan(number.Index + number.Length));
            yield return en.Remove(number.Index, number.Length);
        }

        if (Regex.Match(en, @"(?<=\d )(days|weeks|hours|years|months)\b") is { Success: true } unit)
        {
            yield return string.Concat(en.AsSpan(0, unit.Index), unit.Value == "days" ? "weeks" : "days", en.AsSpan(unit.Index + unit.Length));
        }

        if (Denial().Matches(en) is [var denial])
        {
            yield return en.Remove(denial.Index, denial.Length);
        }
    }

    private static bool Word(string text, string digits) => digits switch
    {
        "1" => Regex.IsMatch(text, @"\b(one|once|a|an)\b", RegexOptions.IgnoreCase),
        "2" => Regex.IsMatch(text, @"\b(two|twice)\b", RegexOptions.IgnoreCase),
        "3" => text.Contains("three", StringComparison.OrdinalIgnoreCase),
        _ => false,
    };

    private static async Task<JsonElement> TranslateAsync(HttpClient http, object body)
    {
        using var answer = await http.PostAsJsonAsync("translate", body, Cancel);
        var json = await answer.Content.ReadFromJsonAsync<JsonElement>(Cancel);
        Assert.True(answer.IsSuccessStatusCode, json.ToString());
        return json;
    }

    private static (string Id, string En, string Zh)[] Tico()
    {
        XNamespace xml = XNamespace.Xml;
        var document = XDocument.Load(Given.Path("mt-data", "tico19-all.en-zh.tmx"));
        return [.. document.Descendants("tu").Select(u => (
            u.Attribute("tuid")?.Value ?? "",
            u.Elements("tuv").Single(v => v.Attribute(xml + "lang")!.Value == "en").Value.Trim(),
            u.Elements("tuv").Single(v => v.Attribute(xml + "lang")!.Value.StartsWith("zh", StringComparison.Ordinal)).Value.Trim()))];
    }

    [GeneratedRegex(@"\d+(?:,\d{3})*(?:\.\d+)?")]
    private static partial Regex Digits();

    [GeneratedRegex(@"\b(?:no|not|never|without|cannot|none)\b|n't\b", RegexOptions.IgnoreCase)]
    private static partial Regex Denial();
}
