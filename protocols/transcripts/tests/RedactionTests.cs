namespace Yizhan.Transcripts.Tests;

/// <summary>What names a person is cut, what is clinical stays.</summary>
[Trait("Clause", "S4")]
public sealed class RedactionTests
{
    [Theory]
    [InlineData("患者姓名张三丰，男，五十岁，头痛三天", "患者姓名[name]，男，五十岁，头痛三天")]
    [InlineData("患者李伟，女，35岁", "患者[name]，女，35岁")]
    [InlineData("请欧阳医生会诊", "请[name]医生会诊")]
    [InlineData("通知王主任，和护士联系", "通知[name]主任，和护士联系")]
    [InlineData("给张女士注射胰岛素", "给[name]女士注射胰岛素")]
    [InlineData("身份证号11010519491231002X，电话13912345678", "身份证号[id]，电话[phone]")]
    [InlineData("证号 11010519491231002X", "证号 [id]")]
    [InlineData("手机号幺三九一二三四五六七八", "手机号[phone]")]
    [InlineData("住院号是A20261123，床号12", "住院号是[record]，床号[record]")]
    [InlineData("家住北京市朝阳区建国路八十八号，已婚", "家住[address]，已婚")]
    [InlineData("出生日期1949年12月31日，血压140", "出生日期[date]，血压140")]
    [InlineData("write to li.wei@hospital.example today", "write to [email] today")]
    [InlineData("My name is John, date of birth March 3, 1950, MRN 448812", "My name is [name], date of birth [date], MRN [record]")]
    [InlineData("doctor smith said that the pain has gone", "doctor [name] that the pain has gone")]
    public void What_names_a_person_is_cut(string text, string redacted) => Assert.Equal(redacted, Redaction.Of(text).Text);

    [Theory]
    [InlineData("患者于今天头痛加重")]
    [InlineData("患者高血压三年，服用二甲双胍五百毫克每天两次")]
    [InlineData("收缩压一百四十毫米汞柱，心率八十六次每分")]
    [InlineData("结节大小约十二乘八毫米，CT值-820")]
    [InlineData("血常规:白细胞6.5，编号11010519491231002")]
    [InlineData("请护士记录，医生已到")]
    [InlineData("the patient has had a headache for three days, blood pressure 140 over 90")]
    [InlineData("go forward ten meters")]
    public void What_is_clinical_stays(string text)
    {
        var (kept, counts) = Redaction.Of(text);
        Assert.Equal(text, kept);
        Assert.Empty(counts);
    }

    [Fact]
    public void What_was_cut_is_counted_by_kind_and_a_wrong_check_digit_is_no_identity()
    {
        var (_, counts) = Redaction.Of("姓名王小明，身份证11010519491231002X，电话010-12345678，电话13912345678");
        Assert.Equal([("id", 1), ("name", 1), ("phone", 2)], counts.Select(c => (c.Key, c.Value)));
        Assert.Equal("样本110105194912310021", Redaction.Of("样本110105194912310021").Text);
    }
}
