namespace Yizhan.Console.Language;

internal sealed partial class ChineseTexts
{
    public override string Models => "模型";
    public override string ModelsNotForYou => "模型页面仅对临床医师与站点工程师开放。您的角色不在其中。";
    public override string ModelsHint => "以下为各站点对自身模型的报告。更改以指令形式下发：站点收到后执行，并在下一份报告中反映。断网时可在站点本地执行 yizhan model hold。";
    public override string NoModels => "尚无站点报告模型。";
    public override string ReportedByTheSite => "站点报告于";
    public override string Model => "模型";
    public override string ModelShare => "检查占比";
    public override string ModelFigures => "近期序列";
    public override string ModelDrift => "漂移：输入、结果";
    public override string ModelChange => "更改";
    public override string ModelReason => "原因";
    public override string ModelNotInUse => "站点规则未使用";
    public override string ForClinicalUse => "可用于临床";
    public override string NotForClinicalUse => "不得用于临床";
    public override string ModelStopped => "已停用";
    public override string OnlyWatches => "仅旁路观察";
    public override string NoStudies => "无";
    public override string StopModel => "停用模型";
    public override string HoldVersion => "暂停此版本";
    public override string RollBack => "回退";
    public override string Findings => "模型发现";
    public override string FindingsHint => "供阅片医师参考，尚未经人工确认。";
    public override string NoFindings => "尚无模型分析过检查。";
    public override string UrgentFinding => "紧急";

    public override string SeriesAndFailed(int series, int failed) => $"{series} 个序列，失败 {failed}";

    public override string MedianTime(double ms) => $"中位耗时 {ms:0} 毫秒";

    public override string PercentOfStudies(int percent) => $"{percent} % 的检查";

    public override string PromoteTo(int percent) => $"升至 {percent} %";

    public override string OrderOnItsWay(string action, string version, string who) => $"指令待送达：{action} {version}，{who}：";

    public override string ObservationsOf(int count) => $"{count} 条 Observation";

    public override string ModelAction(string action) => action switch { "begin" => "初始", "promote" => "升级", "hold" => "暂停", "stop" => "停用", "rollback" => "回退", "refused" => "站点拒绝", _ => $"其他（{action}）" };

    public override string AnalysisOutcome(string outcome) => outcome switch { "findings" => "有发现", "none" => "未见发现", "refused" => "拒绝分析", "failed" => "分析失败", _ => $"其他（{outcome}）" };
}
