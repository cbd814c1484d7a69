using System.Text;
using System.Text.RegularExpressions;

namespace Yizhan.Transcripts;

/// <summary>
/// Takes out of a text what names a person, by rules, for exports and whatever else leaves the record: names behind a cue or before a title, identity numbers (GB 11643, with its check
/// digit, or behind a cue), telephone numbers, numbers of records and beds, addresses and dates of birth behind a cue, addresses of mail. Numbers may be digits or spoken characters. A name without
/// a cue is not found: what is redacted still needs a look before it is published.
/// </summary>
public static partial class Redaction
{
    private const string Surnames =
        "欧阳|上官|司马|诸葛|司徒|[赵钱孙李周吴郑王冯陈褚卫蒋沈韩杨朱秦尤许何吕施张孔曹严华金魏陶姜戚谢邹喻柏水窦章云苏潘葛奚范彭郎鲁韦昌马苗凤花方俞任袁柳酆鲍史唐费廉岑薛雷贺倪汤滕殷罗毕郝邬安常乐于傅皮卞齐康伍余元卜顾孟平黄穆萧尹姚邵湛汪祁毛禹狄米贝明臧伏成戴谈宋茅庞熊纪舒屈项祝董梁杜阮蓝闵席季麻强贾路娄危江童颜郭梅盛林刁钟徐邱骆高夏蔡田樊胡凌霍虞万支柯管卢莫房裘缪宗丁宣邓郁单杭洪包诸石崔吉钮龚程邢裴陆荣翁荀羊於惠甄曲家封芮储靳段富巫乌焦巴弓牧隗山谷车侯宓蓬全郗班仰秋仲伊宫宁仇栾暴甘厉戎祖武符刘景詹束龙叶幸司韶黎薄印宿白怀蒲邰鄂索咸籍赖卓蔺屠蒙池乔阴胥苍闻莘党翟谭贡劳逄姬申扶堵冉宰郦雍桑桂濮牛寿边扈燕冀浦尚农温别庄晏柴瞿阎充慕茹习艾鱼容古易慎戈廖庾暨居衡步耿弘匡国文寇广禄阙东欧殳沃蔚夔隆师巩厍聂晁勾敖融冷訾辛阚那简饶曾沙鞠须丰巢蒯荆游竺权盖益桓公]";

    private const string Digit = "[0-9零〇一二三四五六七八九幺]";

    private static readonly (string Kind, Regex Pattern, Func<Match, bool>? Holds)[] s_rules =
    [
        ("email", Email(), null), ("id", Identity(), m => IsIdentity(m.Value)), ("id", IdentityCue(), null), ("phone", Phone(), null), ("record", Record(), null), ("date", Birth(), null), ("address", Address(), null),
        ("name", NameCue(), null), ("name", NameWeak(), null), ("name", NameTitle(), null), ("name", NameEnglish(), null),
    ];

    /// <summary>The text with marks such as [name] in place of what was cut, and how often each mark stands.</summary>
    public static (string Text, IReadOnlyDictionary<string, int> Counts) Of(string text)
    {
        var counts = new SortedDictionary<string, int>(StringComparer.Ordinal);
        foreach (var (kind, pattern, holds) in s_rules)
        {
            text = pattern.Replace(text, match =>
            {
                if (holds?.Invoke(match) == false)
                {
                    return match.Value;
                }

                counts[kind] = counts.GetValueOrDefault(kind) + 1;
                var cut = match.Groups["cut"];
                return new StringBuilder(match.Value).Remove(cut.Index - match.Index, cut.Length).Insert(cut.Index - match.Index, $"[{kind}]").ToString();
            });
        }

        return (text, counts);
    }

    /// <summary>GB 11643: the last of 18 characters checks the others (ISO 7064, MOD 11-2).</summary>
    private static bool IsIdentity(string text)
    {
        var sum = 0;
        for (var i = 0; i < 17; i++)
        {
            sum += (text[i] - '0') * ((1 << (17 - i)) % 11);
        }

        return char.ToUpperInvariant(text[17]) == "10X98765432"[sum % 11];
    }

    [GeneratedRegex(@"(?<cut>[\w.+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,5})")]
    private static partial Regex Email();

    [GeneratedRegex(@"(?<![0-9])(?<cut>[1-9][0-9]{16}[0-9Xx])(?![0-9])")]
    private static partial Regex Identity();

    [GeneratedRegex(@"(?:身份证|证件|护照|医保卡?|社保卡?)(?:号码|号)?\s*[是为:：]?\s*(?<cut>(?:[A-Za-z]|" + Digit + @"){6,20}[Xx]?)")]
    private static partial Regex IdentityCue();

    [GeneratedRegex(@"(?<![0-9零〇一二三四五六七八九幺.])(?<cut>(?:\+?86[ -]?)?(?:1[3-9][0-9](?:[ -]?[0-9]{4}){2}|[一幺][三四五六七八九](?:" + Digit + @"){9}|0[1-9][0-9]{1,2}[ -]?[0-9]{7,8}))(?![0-9零〇一二三四五六七八九幺])|(?:电话|手机|phone|telephone)(?:号码|号| number)?\s*(?:[是为:：]|is)?\s*(?<cut>" + Digit + @"[0-9零〇一二三四五六七八九幺 -]{5,18})", RegexOptions.IgnoreCase)]
    private static partial Regex Phone();

    [GeneratedRegex(@"(?:住院|病历|病案|门诊|就诊|床|检查|登记)(?:号码|号)\s*[是为:：]?\s*(?<cut>(?:[A-Za-z-]|" + Digit + @"){1,20})|(?:\bmrn|medical record number|record number)\s*(?:is|no\.?|[:#])?\s*(?<cut>[A-Za-z0-9-]{2,20})", RegexOptions.IgnoreCase)]
    private static partial Regex Record();

    [GeneratedRegex(@"(?:出生日期|生日|出生于|生于|date of birth|born on|dob)\s*(?:[是为:：]|is)?\s*(?<cut>[0-9零〇一二三四五六七八九十年月日号/.-]{4,20}|(?:[A-Za-z]{3,9}\s+)?[0-9]{1,2}(?:st|nd|rd|th)?,?\s+(?:[A-Za-z]{3,9},?\s+)?[0-9]{4})", RegexOptions.IgnoreCase)]
    private static partial Regex Birth();

    [GeneratedRegex(@"(?:家庭住址|住址|地址|家住|现住|住在|\baddress\s*(?:is|:)|\blives at)\s*[是为:：]?\s*(?<cut>[^，,。；;\n]{2,60})", RegexOptions.IgnoreCase)]
    private static partial Regex Address();

    [GeneratedRegex(@"(?:姓名|名叫|我叫|他叫|她叫|名字[是叫])\s*[是为:：]?\s*(?<cut>(?:" + Surnames + @")\p{IsCJKUnifiedIdeographs}{1,2})")]
    private static partial Regex NameCue();

    [GeneratedRegex(@"(?:患者|病人|家属|母亲|父亲|妻子|丈夫)\s*[:：]?\s*(?<cut>(?:" + Surnames + @")\p{IsCJKUnifiedIdeographs}{1,2})(?=\s*(?:[，,。、；;]\s*)?(?:先生|女士|[男女](?:性|，|,|\b|$)|(?:" + Digit + @"|[十百])+岁|年龄))")]
    private static partial Regex NameWeak();

    [GeneratedRegex(@"(?<=^|[，,。；;、\s]|[请问由与和给叫找是知])(?<cut>(?:" + Surnames + @")\p{IsCJKUnifiedIdeographs}{0,2}?)(?=先生|女士|小姐|医生|大夫|主任|护士)")]
    private static partial Regex NameTitle();

    [GeneratedRegex(@"(?:\b(?:my|his|her|patient|patient's)\s+name(?:\s+is|:)?|\bname\s*:|\bnamed|\b(?:mr|mrs|ms|dr|mister|missus|doctor)\b\.?)\s+(?<cut>(?!(?:the|a|an|and|or|said|says|will|has|is|was|told|advised|called|about)\b)[A-Za-z][A-Za-z'-]{1,30}(?:\s+[A-Z][A-Za-z'-]{1,30})?)", RegexOptions.IgnoreCase)]
    private static partial Regex NameEnglish();
}
