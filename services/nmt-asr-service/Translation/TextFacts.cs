using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Yizhan.Transcripts;

namespace Yizhan.NmtAsr.Translation;

/// <summary>
/// What must not change between a sentence and its translation: numbers, units of measurement behind them, negation, side of the body. What a text surely says and what it
/// may say are kept apart ("a", 一, "second"), so that a translation lacks something only when the other side surely says it.
/// </summary>
/// <param name="Numbers">Numbers that it says; a number as often as it is said.</param>
/// <param name="MayNumbers">Numbers that it may say beside.</param>
/// <param name="Units">Symbols of the units behind numbers, each as often as it is said.</param>
/// <param name="MayUnits">Symbols of all units that are named.</param>
/// <param name="Sides"><c>left</c>, <c>right</c>, <c>both</c>.</param>
/// <param name="MaySides">The same where the word may mean something else.</param>
/// <param name="Negations">How often something is denied.</param>
internal sealed partial record TextFacts(
    IReadOnlyList<string> Numbers, IReadOnlyList<string> MayNumbers, IReadOnlyList<string> Units, IReadOnlyList<string> MayUnits, IReadOnlySet<string> Sides, IReadOnlySet<string> MaySides,
    int Negations)
{
    /// <summary>Stands for a number while units are looked for; no text of anybody has it.</summary>
    private const char Number = '\uE000';

    // The longer word of two that begin alike comes first. English words end where they end; Chinese ones are told apart by what stands around them.
    private static readonly (string Symbol, Regex Chinese, Regex English)[] s_units =
    [
        Unit("mmol/L", "毫摩尔?每升|mmol/l", "mmol/l|millimoles? per lit(?:er|re)"),
        Unit("mmHg", "毫米汞柱|mmhg", "mm ?hg|mill?imet(?:er|re)s? of mercury"),
        Unit("mg", "毫克|mg", "mg|milligrams?"),
        Unit("µg", "微克|[µμ]g|ug|mcg", "[µμ]g|ug|mcg|micrograms?"),
        Unit("kg", "公斤|千克|kg", "kg|kilos?|kilograms?"),
        Unit("g", "克|g(?![a-z])", "g|grams?"),
        Unit("ml", "毫升|ml", "ml|cc|millilit(?:er|re)s?"),
        Unit("l", "升|l(?![a-z])", "l|lit(?:er|re)s?"),
        Unit("mm", "毫米(?!汞)|mm(?!hg|ol)", "mm|millimet(?:er|re)s?"),
        Unit("cm", "厘米|公分|cm", "cm|centimet(?:er|re)s?"),
        Unit("km", "公里|千米|km", "km|kilomet(?:er|re)s?"),
        Unit("m", "米|公尺", "m|met(?:er|re)s?"),
        Unit("ft", "英尺|尺", "feet|foot|ft"),
        Unit("%", "%", "%|percent|per cent"),
        Unit("°C", "摄氏度|℃|°c|度", "°c|°|degrees?(?: celsius)?|celsius"),
        Unit("°F", "华氏度|°f", "°f|fahrenheit|degrees? fahrenheit"),
        Unit("hour", "个?小时|个?钟头", "hours?|hourly|hrs?|h"),
        Unit("minute", "分钟?", "minutes?|mins?"),
        Unit("second", "秒钟?", "seconds?|secs?|s"),
        Unit("day", "天", "days?|daily", "日(?!常)"),
        Unit("week", "周|个?星期|个?礼拜", "weeks?|weekly"),
        Unit("month", "个月", "months?|monthly", "月"),
        Unit("year", "年|岁|周岁", "years?|yearly|annual(?:ly)?|year-old"),
        Unit("tablet", "片", "tablets?|pills?"),
        Unit("capsule", "粒|颗", "capsules?|pills?"),
        Unit("drop", "滴", "drops?"),
        Unit("dollar", "美元|美金", "dollars?|usd"),
        Unit("yuan", "元|块钱?", "yuan|rmb|cny"),
    ];

    private static readonly Dictionary<string, long> s_words = Words(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen", 0, 1)
        .Concat(Words("twenty thirty forty fifty sixty seventy eighty ninety", 20, 10)).ToDictionary();

    private static readonly Dictionary<string, long> s_may = Words("first second third fourth fifth sixth seventh eighth ninth tenth", 1, 1)
        .Concat(Words("january february march april may june july august september october november december", 1, 1))
        .Concat([new("one", 1), new("once", 1), new("single", 1), new("a", 1), new("an", 1), new("twice", 2), new("both", 2), new("pair", 2), new("couple", 2), new("double", 2), new("half", 0)]).ToDictionary();

    /// <summary>Reads a text. Languages: <c>zh</c>, and English for every other.</summary>
    public static TextFacts Of(string text, string language)
    {
        var (numbers, may) = (new List<string>(), new List<string>());
        var plain = Straight(text);
        return language == "zh" ? Chinese(plain, numbers, may) : English(plain, numbers, may);
    }

    /// <summary>What one of the two says and the other does not: <c>number</c>, <c>unit</c>, <c>negation</c>, <c>side</c>.</summary>
    public static IEnumerable<string> Lost(TextFacts source, TextFacts target)
    {
        if (!Has([.. target.Numbers, .. target.MayNumbers], source.Numbers) || !Has([.. source.Numbers, .. source.MayNumbers], target.Numbers))
        {
            yield return "number";
        }

        if (!Has(target.MayUnits, source.Units) || !Has(source.MayUnits, target.Units))
        {
            yield return "unit";
        }

        // One of several is as dangerous as the only one.
        if (source.Negations != target.Negations)
        {
            yield return "negation";
        }

        if (source.Sides.Except(target.MaySides).Any() || target.Sides.Except(source.MaySides).Any())
        {
            yield return "side";
        }
    }

    /// <summary>Whether all are there, each as often as it is wanted.</summary>
    private static bool Has(IReadOnlyList<string> there, IReadOnlyList<string> wanted)
    {
        var left = there.ToList();
        return wanted.All(left.Remove);
    }

    private static TextFacts Chinese(string text, List<string> numbers, List<string> may)
    {
        // 三分之二 and 百分之三十 before single numbers are read.
        text = Percent().Replace(text, m => m.Groups[1].Value + "%");
        var marked = ChineseNumbers().Replace(text, m =>
        {
            if (m.Groups["digits"].Success)
            {
                numbers.Add(Scaled(m.Groups["digits"].Value, m.Groups["scale"].Value));

                // 2020年 is a date.
                return m.Value is ['1', '9', _, _] or ['2', '0', _, _] && text.AsSpan(m.Index + m.Length).TrimStart(' ') is ['年', ..] ? "" : Number.ToString();
            }

            var run = m.Groups["han"].Value;
            var measured = m.Index + m.Length < text.Length && Measures.Contains(text[m.Index + m.Length], StringComparison.Ordinal) || m.Index > 0 && text[m.Index - 1] is '第';
            if (!ChineseNumber.TryParse(run, out var number) || run is "十" && text.AsSpan(m.Index) is ['十', '分', not ('钟' or '之'), ..])
            {
                return m.Value;
            }

            if (run is "一" || run.Length == 1 && run[0] is not '十' && !measured || run.All(c => c is '千' or '万' or '百' or '亿'))
            {
                may.Add(Canonical(number));
                return measured ? Number.ToString() : m.Value;
            }

            numbers.Add(Canonical(number));
            return Number.ToString();
        });
        var questions = Choice().Replace(marked, "");
        return new TextFacts(
            numbers, may, Named(marked, chinese: true, behindNumber: true), Named(marked, chinese: true, behindNumber: false),
            Set(("left", ChineseLeft().IsMatch(text)), ("right", ChineseRight().IsMatch(text)), ("both", ChineseBoth().IsMatch(text))),
            Set(("left", text.Contains('左')), ("right", text.Contains('右')), ("both", ChineseMayBoth().IsMatch(text))),
            ChineseNegation().Count(Harmless().Replace(questions, "")));
    }

    private static TextFacts English(string text, List<string> numbers, List<string> may)
    {
        var marked = EnglishNumbers().Replace(text, m =>
        {
            if (m.Groups["digits"].Success)
            {
                numbers.Add(Scaled(m.Groups["digits"].Value, m.Groups["scale"].Value));
                return Number.ToString() + " ";
            }

            numbers.Add(Canonical(Spoken(m.Value).ToString(CultureInfo.InvariantCulture)));
            return Number.ToString() + " ";
        });
        foreach (var word in EnglishWords().Matches(marked).Select(m => m.Value))
        {
            if (s_may.TryGetValue(word, out var value))
            {
                may.Add(value == 0 ? "0.5" : Canonical(value.ToString(CultureInfo.InvariantCulture)));
            }
        }

        return new TextFacts(
            numbers, may, Named(marked, chinese: false, behindNumber: true), Named(marked, chinese: false, behindNumber: false),
            Set(("left", EnglishLeft().IsMatch(text)), ("right", EnglishRight().IsMatch(text)), ("both", EnglishBoth().IsMatch(text))),
            Set(("left", EnglishMayLeft().IsMatch(text)), ("right", EnglishMayRight().IsMatch(text)), ("both", EnglishMayBoth().IsMatch(text))),
            EnglishNegation().Count(text));
    }

    /// <summary>As it is compared: compatibility forms, lower case, straight apostrophes.</summary>
    private static string Straight(string text) => TranscriptTokens.WellFormed(text).Normalize(NormalizationForm.FormKC).ToLowerInvariant().Replace('’', '\'');

    private static List<string> Named(string marked, bool chinese, bool behindNumber)
    {
        var found = new List<string>();
        foreach (var (symbol, zh, en) in s_units)
        {
            foreach (Match match in (chinese ? zh : en).Matches(marked))
            {
                if (!behindNumber || match.Groups["number"].Success)
                {
                    found.Add(symbol);
                }
            }
        }

        // A longer unit is not its end, too: 毫克 is no 克.
        foreach (var (whole, part) in new[] { ("mg", "g"), ("µg", "g"), ("kg", "g"), ("ml", "l"), ("mmol/L", "l"), ("mmHg", "mm"), ("mm", "m"), ("cm", "m"), ("km", "m"), ("mmHg", "m"), ("°F", "°C"), ("month", "day") })
        {
            if (chinese && found.Contains(whole) && !Alone(marked, part))
            {
                found.RemoveAll(f => f == part);
            }
        }

        return found;
    }

    private static bool Alone(string marked, string part) => part switch
    {
        "g" => marked.Contains(Number + "克", StringComparison.Ordinal) || marked.Contains(Number + "g", StringComparison.Ordinal),
        "l" => marked.Contains(Number + "升", StringComparison.Ordinal) || marked.Contains(Number + "l", StringComparison.Ordinal),
        "m" => marked.Contains(Number + "米", StringComparison.Ordinal),
        "mm" => marked.Contains(Number + "毫米", StringComparison.Ordinal) && !marked.Contains("毫米汞柱", StringComparison.Ordinal),
        _ => marked.Contains('日') || marked.Contains('天') || marked.Contains(Number + "度", StringComparison.Ordinal),
    };

    private static string Scaled(string digits, string scale)
    {
        var value = decimal.TryParse(digits.Replace(",", "", StringComparison.Ordinal), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var read) ? read : -1;
        var factor = scale switch { "百" or "hundred" => 100m, "千" or "thousand" => 1000, "万" => 10_000, "million" => 1_000_000, "亿" => 100_000_000, "billion" => 1_000_000_000, _ => 1 };

        // What is too long to be a number is compared as it is.
        return value < 0 || value > 1_000_000_000_000_000 ? digits : (value * factor).ToString("0.############", CultureInfo.InvariantCulture);
    }

    private static string Canonical(string number) => Scaled(number, "");

    private static long Spoken(string words)
    {
        long total = 0, section = 0;
        foreach (var word in words.Split([' ', '-'], StringSplitOptions.RemoveEmptyEntries))
        {
            switch (word)
            {
                case "and":
                    break;
                case "a":
                    section = 1;
                    break;
                case "hundred":
                    section = Math.Max(1, section) * 100;
                    break;
                case "thousand" or "million" or "billion":
                    total += Math.Max(1, section) * (word == "thousand" ? 1000 : word == "million" ? 1_000_000 : 1_000_000_000);
                    section = 0;
                    break;
                default:
                    section += s_words[word];
                    break;
            }
        }

        return total + section;
    }

    private static IEnumerable<KeyValuePair<string, long>> Words(string words, long from, long step) => words.Split(' ').Select((w, i) => new KeyValuePair<string, long>(w, from + i * step));

    private static HashSet<string> Set(params (string Name, bool Is)[] sides) => [.. sides.Where(s => s.Is).Select(s => s.Name)];

    // What may be part of a date is no unit for sure: 3月 may be March.
    private static (string, Regex, Regex) Unit(string symbol, string chinese, string english, string dates = "(?!)") => (
        symbol, new Regex($"(?<number>{Number}[ ]?[多余来]?)?(?:{chinese})|{dates}", RegexOptions.CultureInvariant, TimeSpan.FromSeconds(1)),
        new Regex($"(?<number>{Number}[ -]*(?:more )?)?(?<![a-z])(?:{english})(?![a-z])", RegexOptions.CultureInvariant, TimeSpan.FromSeconds(1)));

    // What stands behind a single character that counts: 三天, 两片.
    private const string Measures = "个只片粒次天日周月年岁小点分秒毫微厘米克公千升度级期杯倍名位种条支瓶颗号楼床滴包袋针%美元块人口处根层段项例";

    [GeneratedRegex(@"百分之([零一二三四五六七八九十百点两\d.]+)")]
    private static partial Regex Percent();

    [GeneratedRegex(@"(?<digits>\d+(?:,\d{3})*(?:\.\d+)?)(?<scale>[百千万亿])?|(?<han>[零〇一二三四五六七八九十百千万亿两]+(?:点[零〇一二三四五六七八九]+)?)")]
    private static partial Regex ChineseNumbers();

    [GeneratedRegex(@"(?<digits>\d+(?:,\d{3})*(?:\.\d+)?)(?:[ ](?<scale>hundred|thousand|million|billion)\b)?|(?<![a-z])(?:zero|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|(?:one|a) (?:hundred|thousand|million)|hundred|thousand|million)(?:(?:[ -]|[ ]and[ ])(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million)\b)*(?![a-z])")]
    private static partial Regex EnglishNumbers();

    [GeneratedRegex("[a-z]+")]
    private static partial Regex EnglishWords();

    // A-not-A questions deny nothing: 是不是, 有没有, 能不能.
    [GeneratedRegex(@"(.)[不没]\1|有没有|是否|能否|可否|会否")]
    private static partial Regex Choice();

    [GeneratedRegex("非常|不同|不断|不久|不仅|不但|不错|不管|不论|无论|特别|分别|别人|别的|性别|级别|区别|识别|差别|鉴别|未来|非洲|并非不|不得不|非典|告别|个别|类别|别针|国别|莫名|否则|无线|不过|不只")]
    private static partial Regex Harmless();

    [GeneratedRegex("不|没|无|未|非|否|别|勿|莫|禁|免于|从未|并非|缺乏|阴性")]
    private static partial Regex ChineseNegation();

    [GeneratedRegex(@"\b(?:no|not|none|never|neither|nor|without|cannot|nobody|nothing|nowhere|free of|denies|denied|deny|negative|absent|absence|lack|lacks|lacking|unable|isn|unlikely|unknown|asymptomatic|forbidden|prohibited|avoid|unless|impossible|un(?:able|safe|well|usual|happy|clear|common)|non-?[a-z]+)\b|n't\b|\bdont\b|\bdoesnt\b|\bdidnt\b|\bcant\b")]
    private static partial Regex EnglishNegation();

    [GeneratedRegex("左(?!右)")]
    private static partial Regex ChineseLeft();

    [GeneratedRegex("(?<!左)右")]
    private static partial Regex ChineseRight();

    [GeneratedRegex("双(?:侧|肺|眼|手|腿|脚|耳|肾|膝|肩|臂|下肢|上肢|乳)|两侧")]
    private static partial Regex ChineseBoth();

    [GeneratedRegex("双|两|都|俩")]
    private static partial Regex ChineseMayBoth();

    [GeneratedRegex(@"(?<!(?:have|has|had|was|were|is|are|am|been|be|i|he|she|we|they|you|just|and|who) )\bleft\b")]
    private static partial Regex EnglishLeft();

    [GeneratedRegex(@"(?<!(?:all|that's|is|are|am|be|you're|was|the|it's) )\bright\b(?! (?:now|away|after|before|here|there|then|to|from))|\bthe right (?:arm|hand|leg|foot|eye|ear|side|lung|knee|kidney|shoulder|breast|hip|ankle|lobe|ventricle|atrium|lower|upper)")]
    private static partial Regex EnglishRight();

    [GeneratedRegex(@"\bboth (?:sides|lungs|eyes|hands|legs|feet|ears|kidneys|knees|shoulders|arms|breasts)\b|\bbilateral(?:ly)?\b")]
    private static partial Regex EnglishBoth();

    [GeneratedRegex(@"\bleft\b")]
    private static partial Regex EnglishMayLeft();

    [GeneratedRegex(@"\bright\b")]
    private static partial Regex EnglishMayRight();

    [GeneratedRegex(@"\bboth\b|\bbilateral(?:ly)?\b|\btwo\b|\beither side\b")]
    private static partial Regex EnglishMayBoth();
}
