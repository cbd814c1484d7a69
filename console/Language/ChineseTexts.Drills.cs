using System.Globalization;

namespace Yizhan.Console.Language;

internal sealed partial class ChineseTexts
{
    public override string Drills => "恢复演练";
    public override string Drill => "恢复演练";
    public override string DrillsNotForYou => "恢复演练仅供运维人员和站点工程师查看,您的角色不在其中。";
    public override string DrillsHint => "每类演练每季度对独立进程执行一次,由外部账本独立判定,并记入审计日志。";
    public override string DrillLastSuccess => "最近一次通过";
    public override string DrillDue => "应于此前完成";
    public override string DrillStart => "执行:";
    public override string DrillRunTime => "结束时间";
    public override string DrillResult => "结果";
    public override string DrillLost => "丢失";
    public override string DrillTwice => "重复";
    public override string DrillSummary => "摘要";
    public override string DrillPassed => "通过";
    public override string DrillFailed => "未通过";
    public override string DrillAccepted => "已确认";
    public override string DrillDelivered => "已到中心";
    public override string DrillInAudit => "审计日志中的对象";
    public override string DrillGone => "该次演练不存在或已久远;审计日志中仍有记录。";
    public override string DrillChecks => "检查项";
    public override string DrillSteps => "过程";
    public override string DrillLimits => "限定范围";
    public override string DrillNotShown => "本次未能证明的内容";
    public override string DrillStartHere => "启动";
    public override string DrillStartTitle(string kind) => $"启动演练：{kind}";
    public override string DrillStartSays => "演练将在本中心的机器上启动自己的节点，加以破坏，并判定恢复结果。不触及正在使用的节点，但会在几分钟内占用处理器、2 GB 内存和 2 GB 磁盘。启动与报告将以您的名义记入审计日志。";
    public override string DrillStartYes => "立即启动";
    public override string DrillNotNow => "暂不";
    public override string DrillProgress => "演练输出";
    public override string DrillStartedBy(string who) => $"由 {who} 启动";
    public override string DrillLinesBefore(long count) => $"此前的 {count} 行已不再保留。";
    public override string DrillCancel => "停止演练";
    public override string DrillCancelSays => "其节点将被停止，数据将被删除。不会有报告；审计日志会记录是您停止的。";
    public override string DrillCancelYes => "确认停止";
    public override string DrillGoOn => "继续进行";
    public override string DrillLeave => "您可以离开本页：演练会继续，回来时仍可查看。";
    public override string DrillReadReport => "查看报告";
    public override string DrillBroken => "演练未产生报告即结束。原因见最后几行；时间见 fleet 的日志。";

    public override string DrillRunState(string state) => state switch
    {
        "running" => "进行中",
        "ending" => "正在停止",
        "passed" => "通过",
        "failed" => "未通过",
        "cancelled" => "已停止",
        "broken" => "未产生报告",
        _ => $"状态 {state}",
    };

    public override string DrillRuns(string kind) => $"{kind}:历次执行";

    public override string DrillKindName(string kind) => kind switch
    {
        "outage" => "线路中断",
        "power-cut" => "断电",
        "ransomware" => "站点遭勒索加密",
        "model-anomaly" => "模型被投毒",
        "zone-loss" => "中心丢失",
        "bad-release" => "配置发布有误",
        _ => $"演练 {kind}",
    };

    public override string DrillStateName(string state) => state switch
    {
        "passed" => "已通过",
        "failed" => "最近一次未通过",
        "overdue" => "已逾期",
        "never" => "从未执行",
        _ => $"状态 {state}",
    };

    public override string DrillSeconds(double seconds) => seconds.ToString("0.0", CultureInfo.InvariantCulture) + " 秒";
}
