using System.Globalization;

namespace Yizhan.Console.Language;

internal sealed partial class ChineseTexts : Texts
{
    public override string Code => "zh";
    public override string HtmlLang => "zh-CN";
    public override string OwnName => "中文";

    public override string Product => "驿站";
    public override string SkipToContent => "跳到正文";
    public override string Theme => "外观";
    public override string SignOut => "退出登录";
    public override string SignedInAs(string name, string grants) => $"已登录：{name}（{grants}）";
    public override string ThemeSystem => "跟随系统";
    public override string ThemeLight => "浅色";
    public override string ThemeDark => "深色";
    public override string Reconnecting => "与控制台的连接已中断，正在重新连接…";
    public override string PageFailed => "页面因错误已停止。";
    public override string Reload => "重新加载";
    public override string NotFoundTitle => "没有这个页面";
    public override string NotFoundHint => "前往网络页";

    public override string Live => "实时";
    public override string LiveHint => "站点上报或检查到达时，页面会自动更新。";
    public override string Connecting => "正在连接";
    public override string Interrupted => "已中断";
    public override string FleetService => "站点登记服务";
    public override string PacsService => "影像归档服务";
    public override string Unreachable(string service, string address) => $"{service}在 {address} 没有应答。";
    public override string Answered(string service, int status, string address) => $"{service}（{address}）返回了 HTTP 状态 {status}。";
    public override string NotUnderstood(string service, string address) => $"{service}（{address}）返回了控制台无法理解的内容。";
    public override string RetryIn(int seconds) => $"{seconds} 秒后重试。";
    public override string Retrying => "正在重试…";
    public override string ShownAsOf(string time) => $"下方显示的是 {time} 的情况。";
    public override string CheckService => "数据不会丢失：站点会保留尚未送达的内容。请检查该服务是否在运行。";

    public override string Network => "网络";
    public override string Sites => "站点";
    public override string Studies => "检查";
    public override string NewestFirst(int count) => $"最近 {N(count)} 项，新的在前";

    public override string SitesOnline => "在线站点";
    public override string OfSites(int online, int total) => $"{N(online)} / {N(total)} 个";
    public override string SpoolDepth => "待传队列";
    public override string OldestWaiting => "最久等待";
    public override string FullestLane => "最满通道";
    public override string Percent(int value) => $"{value} %";
    public override string Left(string size) => $"剩余 {size}";
    public override string NothingWaits => "没有等待的内容";
    public override string Entries(long count) => $"{N(count)} 条";
    public override string AtSite(string siteId) => $"站点 {siteId}";

    public override string Online => "在线";
    public override string Offline => "离线";
    public override string LastContact => "最近联系";
    public override string Version => "版本";
    public override string Configuration => "配置";
    public override string OwnSettings => "本地设置";
    public override string OnTrial => "试运行中";
    public override string ConfigurationDrifts(string wanted) => $"本站点应运行 {wanted}，目前尚未生效。";
    public override string OfflineHint => "站点可独立继续工作。所示数字为其最后一次上报。";
    public override string OutageRoom => "可承受断网";
    public override string DeliveredShare => "已送达";
    public override string InQuarantine => "隔离中";
    public override string DiskUse => "磁盘";
    public override string CommitTime => "提交耗时（99%）";
    public override string AllDelivered => "已全部送达";
    public override string Spool => "队列";
    public override string Lane => "通道";
    public override string Waiting => "等待";
    public override string Size => "大小";
    public override string Oldest => "最久";
    public override string RoomLeft => "剩余空间";
    public override string LaneFull => "已满";

    public override string LaneName(string lane) => lane switch
    {
        "urgent" => "紧急",
        "normal" => "常规",
        "bulk" => "大批量",
        "telemetry" => "遥测",
        _ => lane,
    };

    public override string Patient => "患者";
    public override string PatientId => "患者编号";
    public override string NoName => "无姓名";
    public override string NoPatientId => "无编号";
    public override string Study => "检查";
    public override string NoStudyDate => "无日期";
    public override string Modality => "设备类型";
    public override string Content => "内容";
    public override string Series(int count) => $"{N(count)} 个序列";
    public override string Instances(int count) => $"{N(count)} 个实例";
    public override string FirstStoredAt => "首次存储于";
    public override string Indexed => "编入索引";

    public override string NoSitesTitle => "还没有站点上报";
    public override string NoSitesHint => "站点的驿站程序第一次联系本中心后，就会出现在这里。请启动已在本中心注册的驿站程序；此处无需填写任何内容。";
    public override string NoStudiesTitle => "还没有检查到达";
    public override string NoStudiesHint => "请从影像设备或任意 DICOM 程序发送一个检查。第一幅图像编入索引后，它就会出现在这里。";
    public override string SendTo => "发送到";
    public override string DicomAddress => "DICOM 地址";
    public override string AeTitle => "AE 标题";
    public override string TryWithDcmtk => "例如使用 dcmtk：";
    public override string AskForAddress => "DICOM 地址和 AE 标题即站点网关的地址和标题；`yizhan up` 会显示它们。";
    public override string Loading => "正在加载…";

    public override string DicomPeers => "DICOM 对端";
    public override string PeersNotForYou => "您的角色无权查询对端和处理检查归属。";
    public override string PeersKnown => "网关已登记的对端";
    public override string CalledAt => "呼叫地址";
    public override string NeverCalled => "仅由对方呼叫";
    public override string MayAskFor => "可请求的服务";
    public override string Everything => "全部";
    public override string OpenAssociations => "当前连接";
    public override string EchoTest => "回声测试";
    public override string NoPeersTitle => "尚未配置对端";
    public override string NoPeersHint => "请在网关设置的 pacs-gw:peers 中登记允许连接的设备和归档系统。";
    public override string Conflicts => "待确认的患者";
    public override string ConflictsHint => "这些图像与所属检查的患者信息不一致。它们已安全保存，在有人确认之前不会进入归档。";
    public override string NoConflicts => "所有图像与所属检查的患者信息一致。";
    public override string StudySays => "检查记录为";
    public override string InstancesSay => "图像记录为";
    public override string Decision => "处理";
    public override string SamePatient => "同一患者";
    public override string KeepApart => "保持分开";
    public override string Destinations => "转发目的地";
    public override string NoDestinations => "规则未设置转发。";
    public override string Destination => "目的地";
    public override string Delivered => "已送达";
    public override string FailedCopies => "被拒绝的副本";
    public override string Reachable => "连接";
    public override string Away => "无法连接";
    public override string NotAway => "未发现问题";
    public override string Reason => "原因";
    public override string TryAgain => "重试";
    public override string GiveUp => "放弃";
    public override string GiveUpForGood => "确定放弃？";
    public override string AnswersAfter(double milliseconds) => $"{milliseconds.ToString(CultureInfo.InvariantCulture)} 毫秒后应答。";
    public override string Attempts(int count) => $"已尝试 {N(count)} 次";
    public override string NotDone(string reason) => $"未能完成：{reason}";

    public override string JustNow => "刚刚";
    public override string Ago(string duration) => $"{duration}前";
    public override string Seconds(long count) => $"{count} 秒";
    public override string Minutes(long count) => $"{count} 分钟";
    public override string Hours(long count) => $"{count} 小时";
    public override string Days(long count) => $"{N(count)} 天";

    public override string Audit => "审计";
    public override string AuditService => "审计日志服务";
    public override string FindRecords => "查找记录";
    public override string WhoLookedHint => "谁看过这位患者：只填写患者编号即可。填写的各项须同时满足。";
    public override string Who => "操作者";
    public override string StudyUid => "检查实例 UID";
    public override string Action => "操作";
    public override string AnyAction => "全部操作";
    public override string FromDay => "起始日期";
    public override string ToDay => "截止日期（含）";
    public override string Search => "查找";
    public override string Records => "记录";
    public override string NoRecordMatches => "没有符合的记录";
    public override string Recorded => "记录时间";
    public override string What => "对象";
    public override string Proof => "证明";
    public override string ProofVerified => "已验证";
    public override string ProofWrong => "与签名不符";
    public override string ProofMissing => "无证明";
    public override string LogSize => "日志大小";
    public override string LastCheckpoint => "最近检查点";
    public override string SignatureChecked => "签名已核对";
    public override string LastVerification => "最近一次验证";
    public override string NotYetVerified => "尚未验证";
    public override string AllAsSigned => "全部与签名一致";
    public override string LogIsWrong => "与签名不符";
    public override string WholeLog => "整个日志";
    public override string VerifyNow => "立即验证";
    public override string Verifying => "正在验证…";
    public override string NotSigned(string address) => $"{address} 审计日志的检查点不是由其密钥签名的，请勿信赖。";
    public override string EntryIsWrong(long index) => $"第 {index} 条有误";
    public override string EntryAt(long index, string site) => $"第 {index} 条，来自 {site}";

    public override string ActionName(string code) => code switch
    {
        "C" => "新建",
        "R" => "读取",
        "U" => "修改",
        "D" => "删除",
        "E" => "执行",
        _ => code,
    };

    private static string N(long count) => count.ToString("N0", CultureInfo.InvariantCulture);
}
