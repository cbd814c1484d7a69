namespace Yizhan.Console.Language;

internal sealed partial class ChineseTexts
{
    public override string SitesNotForYou => "站点及其配置对运维、审计和现场工程师开放。请向管理员申请相应角色。";
    public override string Attention => "需要关注";
    public override string NothingToAttend => "没有需要关注的问题。";
    public override string Alerts => "告警";
    public override string NoPrometheus => "尚未配置 Prometheus，此处不显示告警。请在控制台设置中填写其地址：";
    public override string NoAlerts => "Prometheus 没有该站点的告警。";
    public override string AlertSince => "开始于";
    public override string AlertState(string state) => state switch { "firing" => "告警中", "pending" => "待确认", _ => "状态 " + state };
    public override string SiteNow => "当前状态";
    public override string SiteLately => "近期走势";
    public override string LastHour => "最近一小时";
    public override string LastDay => "最近一天";
    public override string LastWeek => "最近一周";
    public override string PlotSaid(string last, string least, string most) => $"当前 {last}，区间 {least} 至 {most}";
    public override string PlotSilent => "此时段没有上报";
    public override string SiteStanding => "许可、证书与服务";
    public override string CertificateUntil => "证书有效期至";
    public override string Licence => "许可";
    public override string NoSiteFile => "该站点使用自有设置，没有发布版列出其对端。";
    public override string EchoAtSite => "这些对端只应答站点，不应答中心。请在站点自身控制台的“DICOM 对端”页面测试，或在站点执行：";
    public override string Logs => "日志";
    public override string LogsHint => "以上是站点发来的警告和错误。完整日志在站点保留 7 天，请在站点按其运行方式用以下命令查看：";
    public override string NoLogLines => "站点没有发来警告或错误。";
    public override string LogLevel(string level) => level switch { "critical" => "严重", "error" => "错误", _ => "警告" };
    public override string LogTimes(int count) => $"{count} 次";
    public override string LogDropped(long lines) => $"最近 24 小时另有 {lines} 行只在站点。";
    public override string NoSuchSite => "没有此名称的站点上报过";
    public override string SiteSilent(string duration) => $"已有 {duration} 没有联系。";
    public override string LaneIsTight(string lane, string room) => $"{lane}：仅剩 {room} 空间。";
    public override string ServiceIs(string service, string state) => $"服务 {service}：{state}。";
    public override string EntriesInQuarantine(long count) => $"{count} 条记录被隔离，无法传送。";
    public override string CertificateEnds(string time) => $"证书将于 {time} 到期。";
    public override string LicenceIs(string state) => $"许可状态：{state}。";
    public override string Releases => "配置发布";
    public override string NoRelease => "尚未发布过配置";
    public override string NoReleaseHint => "各站点使用自有设置。发布版包含每个站点的文件，由提出者签名，并需要他人签名批准：";
    public override string EditSiteFile => "编辑站点文件";
    public override string NewSite => "新站点";
    public override string SiteFile => "站点文件（YAML）";
    public override string Faults => "错误";
    public override string NoFaults => "文件无误。";
    public override string LineOf(int line) => $"第 {line} 行：";
    public override string Changes => "相对上次发布的变更";
    public override string NoChanges => "没有实质变更。";
    public override string HowToPropose => "提出发布";
    public override string KeysStay => "提出发布须用您自己的密钥，密钥不会离开您的电脑。请将文件放入站点文件夹并在本机执行命令；他人可在本页或用命令批准。";
    public override string SaveFile(string name) => $"保存 {name}";
    public override string SchemaHelp => "站点文件的可用项（* 为必填）";
    public override string Key => "键";
    public override string Meaning => "含义";
    public override string AcceptedValues => "可用值";
    public override string ProposedBy(string who) => $"由 {who} 提出";
    public override string ApprovedBy(int count, int needed) => $"已获 {count} / {needed} 个批准";
    public override string ApproveWith => "在本页批准需要此浏览器中有一个已列入信任名单的密钥（见下方）。若密钥在您的电脑上，请在那里签名：";
    public override string ApproveNotForYou => "需由具有 site-engineer 角色的人用密钥批准。";
    public override string Rings => "已提供的站点比例";
    public override string SitesRunning(int count, int total) => $"{count} / {total} 个站点已运行";

    public override string HealthName(string state) => state switch
    {
        "healthy" => "正常",
        "degraded" => "降级",
        "unhealthy" => "故障",
        _ => "状态 " + state,
    };

    public override string LicenceName(string state) => state switch
    {
        "active" => "有效",
        "grace" => "宽限期",
        "lapsed" => "已过期",
        "notyet" => "尚未生效",
        "forged" => "伪造",
        "othersite" => "属于其他站点",
        "otherhardware" => "属于其他设备",
        "superseded" => "已被取代",
        _ => "许可 " + state,
    };

    public override string ReleaseStateName(string state) => state switch
    {
        "proposed" => "等待批准",
        "rolling out" => "分批发布中",
        "stopped" => "已停止",
        "complete" => "已完成",
        "replaced" => "已被取代",
        _ => "状态 " + state,
    };

    public override string SiteReleaseState(string state) => state switch
    {
        "applied" => "已运行",
        "on trial" => "试运行",
        "refused" => "已拒绝",
        "offered" => "已提供",
        "waiting" => "等待",
        _ => "状态 " + state,
    };
}
