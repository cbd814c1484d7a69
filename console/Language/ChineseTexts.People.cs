namespace Yizhan.Console.Language;

internal sealed partial class ChineseTexts
{
    public override string AuditNotForYou => "审计日志仅对审计员开放。请向管理员申请本站点的 auditor 角色。";
    public override string People => "人员";
    public override string PeopleService => "身份服务";
    public override string PeopleNotForYou => "账户由管理员管理，紧急访问由审计员复核。您的角色不在其中。";
    public override string EmergencyReviews => "待复核的紧急访问";
    public override string EmergencyReviewsHint => "有人以理由代替权限打开了记录。请写明复核结论；任何人不得复核自己的访问，结论会写入审计日志。";
    public override string NoEmergencyReviews => "没有待复核的紧急访问。";
    public override string ReasonGiven => "所述理由";
    public override string AccessFromTo => "起止时间";
    public override string Verdict => "结论";
    public override string CloseReview => "完成复核";
    public override string Accounts => "账户";
    public override string AccountName => "用户名";
    public override string ShownName => "显示名";
    public override string RolesAtSites => "各站点角色";
    public override string RolesExample => "例如：radiographer@lakeside auditor@*";
    public override string AccountState => "状态";
    public override string AccountOpen => "启用";
    public override string AccountClosed => "已停用";
    public override string MustChangePassword => "须设置新密码";
    public override string SaveRoles => "保存角色";
    public override string CloseAccount => "停用账户";
    public override string OpenAccount => "重新启用";
    public override string CloseAccountHint => "在中心立即生效；在各站点，下一份名单送达时生效。";
    public override string AddAccount => "新增账户";
    public override string Add => "新增";

    public override string FirstPassword(string name) => $"{name} 的初始密码（仅显示一次，首次登录时必须更换）：";
}
