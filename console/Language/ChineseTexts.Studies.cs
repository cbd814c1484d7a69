namespace Yizhan.Console.Language;

internal sealed partial class ChineseTexts
{
    public override string StudiesNotForYou => "检查对临床医生和影像技师开放。请向管理员申请本站点的相应角色。";
    public override string FindStudies => "查找检查";
    public override string PatientName => "患者姓名";
    public override string AccessionNumber => "检查号";
    public override string StudyNameHint => "姓名可用汉字或拼音，全名或开头均可：王小、wang xiao、wangxiaodong。";
    public override string FoundStudies => "查到的检查";
    public override string NoStudyFound => "没有符合条件的检查";
    public override string NoStudyFoundHint => "不相关的条件请留空，或扩大日期范围。离线站点上的检查要等线路恢复后才会到达。";
    public override string Images => "影像";
    public override string OpenImages => "打开";
    public override string OpenImagesOf(string who) => $"打开 {who} 的影像";
    public override string WayOfStudy => "检查的流转";
    public override string StudyNotHere => "本节点的归档中没有此编号的检查，它可能仍在从站点传来的途中。";
    public override string BackToStudies => "全部检查";

    public override string StepName(string name) => name switch
    {
        "received" => "已接收",
        "durable" => "已落盘",
        "shipped" => "已传送",
        "indexed" => "已索引",
        "analysed" => "已分析",
        "emr" => "已入病历",
        _ => "步骤 " + name,
    };

    public override string StepStateName(string state) => state switch
    {
        "done" => "完成",
        "open" => "尚未",
        "stopped" => "需人工处理",
        "unknown" => "此处未知",
        _ => "状态 " + state,
    };

    public override IReadOnlyDictionary<string, string> Viewer { get; } = new Dictionary<string, string>
    {
        ["tools"] = "工具",
        ["window"] = "窗宽窗位",
        ["measure"] = "测量长度",
        ["scroll"] = "翻层",
        ["zoom"] = "缩放",
        ["pan"] = "移动",
        ["preset"] = "预设窗",
        ["presetOwn"] = "影像自带",
        ["lung"] = "肺窗",
        ["soft"] = "软组织窗",
        ["bone"] = "骨窗",
        ["brain"] = "脑窗",
        ["reset"] = "还原",
        ["mpr"] = "三平面",
        ["axial"] = "轴位",
        ["sagittal"] = "矢状位",
        ["coronal"] = "冠状位",
        ["noVolume"] = "多平面重建需要四幅以上等距平行的图像；此序列不符合。",
        ["opacity"] = "分割透明度",
        ["prior"] = "对比检查",
        ["noPrior"] = "该患者没有其他检查",
        ["besideNothing"] = "无",
        ["image"] = "图像",
        ["imageOf"] = "第 {0} 幅，共 {1} 幅",
        ["instances"] = "{0} 幅",
        ["series"] = "序列",
        ["findings"] = "所见",
        ["measurements"] = "测量结果",
        ["noFindings"] = "还没有模型报告。",
        ["nothingFound"] = "模型未发现异常。",
        ["preliminary"] = "模型建议，尚未经人确认。",
        ["measureHint"] = "选择“测量长度”，在图像上画线；或在图像上按回车：方向键移动标记（按住 Shift 每次十个像素），回车确定两端，Esc 取消。",
        ["markStart"] = "方向键移动标记，回车确定起点。",
        ["markEnd"] = "起点已确定。用方向键移到终点，按回车确定。",
        ["remove"] = "删除",
        ["noPicture"] = "此处没有可显示的图像。",
        ["notHere"] = "该所见对应的图像不在此处。",
        ["failed"] = "未能完成：",
        ["missing"] = "此版本未包含阅片器：请在装有 npm 的机器上构建（console/viewer/build.sh），或用任意 DICOMweb 阅片器打开。",
    };
}
