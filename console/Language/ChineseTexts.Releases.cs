namespace Yizhan.Console.Language;

internal sealed partial class ChineseTexts
{
    public override string KeyHere => "您在此浏览器中的密钥";
    public override string KeyHereHint => "用它可在本页批准发布。密钥在此生成，无法从浏览器中复制出去；其公钥列入信任名单后方才有效。请仅在没有他人以您的名义使用的浏览器中生成。";
    public override string KeyInsecure => "浏览器仅在 HTTPS 或本机页面上签名。请以此方式打开控制台，或用命令批准。";
    public override string KeyNotKept(string problem) => $"此浏览器不保存密钥（{problem}）：可能是无痕窗口，或禁止存储。请换用其他窗口，或用命令批准。";
    public override string KeyName => "密钥名称";
    public override string KeyNameForm => "可用：1 至 41 个 a-z、0-9 和 - 字符。";
    public override string KeyMake => "生成密钥";
    public override string KeyFingerprint => "指纹";
    public override string KeyCounts(string person) => $"已列入信任名单，属于 {person}。";
    public override string KeyUnknown => "尚未列入信任名单，因此还不能批准。请名单维护者与您核对指纹后加入：";
    public override string KeyFurther => "若您已有密钥在名单中，请加上 --of 和该密钥名称：同一人的多个密钥只计一次。随后与任何变更一样发布该名单：";
    public override string KeyRevoked => "该密钥已被吊销，带有其签名的发布会被拒绝。请在此删除并重新生成。";
    public override string KeyOtherName => "信任名单中此名称属于另一密钥，或此密钥使用另一名称。请在此删除，并用新的名称生成。";
    public override string KeyForget => "删除此密钥";
    public override string KeyForgetSays => "密钥将从此浏览器中删除，且没有副本。已批准的内容依然有效。请同时在信任名单中吊销它。";
    public override string KeyForgetYes => "确认删除";
    public override string KeyKeep => "保留";
    public override string SeeChanges => "查看变更";
    public override string ReleaseChangesTitle(string version) => $"{version} 的变更";
    public override string ChangedSince(string version) => $"相对 {version} 的变更";
    public override string ChangedFromNothing => "此前没有发布过：全部为新内容";
    public override string MoreChanges(int count) => $"另有 {count} 处变更，请用 yizhan config diff 查看";
    public override string MoreSites(int count) => $"另有 {count} 个站点，请用 yizhan config diff 查看";
    public override string SitesUnchanged(int count) => $"无变更的站点：{count}";
    public override string SitesGone(string sites) => $"不再包含于此发布：{sites}";
    public override string TrustChanges => "此发布会改变谁的签名有效：";
    public override string YouProposed => "此发布由您提出，须由他人批准。";
    public override string YouApproved => "您已批准。";
    public override string ApproveLeaves(int count) => $"站点暂不会收到：您批准后还需 {count} 个批准。";
    public override string ApproveStarts(int sites) => $"您的批准是最后一个：其站点（{sites} 个）将立即开始安装，先从第一批开始。之后只能用另一次发布来停止。";
    public override string ApproveAs(string key) => $"以 {key} 批准";
    public override string ReleaseNotRead(string version) => $"无法读取 {version} 的文件。请重试；若仍如此，请查看 fleet 的日志。";
}
