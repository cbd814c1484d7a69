namespace Yizhan.Console.Language;

internal sealed partial class ChineseTexts
{
    public override string ThisSite => "本站点";
    public override string SiteNamed(string site) => $"站点 {site}";
    public override string StationService => "本站点的传输服务";
    public override string AiService => "模型服务";
    public override string LineState => "到中心的线路";
    public override string LineUp => "到中心的线路正常。";
    public override string LineDownSince(string time) => $"到中心的线路自 {time} 起中断。本站点所有页面照常使用，数据已保存，线路恢复后自动上传。";
    public override string LineDownFor(string duration) => $"到中心的线路已中断 {duration}。";
    public override string LineNotSeenSince(string time) => $"自本节点于 {time} 启动以来，中心没有应答。本站点所有页面照常使用，数据已保存，线路恢复后自动上传。";
    public override string NoCentre => "本站点没有设置中心：所有数据保存在本地，不上传。";
    public override string LineUnknown => "线路状态尚不清楚。";
    public override string NoContactYet => "尚无";
    public override string OwnOfflineHint => "本站点独立运行，待传数据在线路恢复后上传。";
    public override string ModelsOfSiteHint => "本站点的模型。无论线路是否正常，更改都在本地立即生效，并报告给中心。";
    public override string NoModelsHere => "本站点没有模型。";
    public override string OfCentreTitle => "此页面在中心";
    public override string OfCentre(string site) => $"全网站点、配置发布与分批、人员和演练由中心管理。这里是站点 {site} 的控制台，没有中心也能使用。";
    public override string OpenCentre => "打开中心的控制台";
    public override string AskAtCentre => "请向中心的运维人员询问其地址。";
    public override string BackToSite => "前往本站点页面";
    public override string SigningIn => "无中心时登录";
    public override string SignInHolds(string until, string left) => $"可用至 {until}（剩余 {left}）";
    public override string SignInHeld(string since) => $"自 {since} 起不可用：人员名单已过期，线路恢复后自动更新";
    public override string NoSignInList => "不可用：中心尚未发来人员名单";
    public override string EmergencyAccess => "紧急访问";
    public override string EmergencyHint => "患者情况紧急而您的角色权限不足时使用：全程记录，并由他人审核。";
    public override string EmergencyUntil(string time) => $"紧急访问，有效至 {time}。您的所有操作均被记录，并由他人审核其理由。";
    public override string EmergencyOver => "紧急访问已结束。";
    public override string SignIn => "登录";
}
