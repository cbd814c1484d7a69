namespace Yizhan.Console.Language;

internal sealed partial class ChineseTexts
{
    public override string Dictation => "语音病历";
    public override string DictationNotForYou => "您的角色无权书写病历。";
    public override string DictationHint => "仅能识别下列语言；其他方言需由本站点安装语音包。发送前请通读全文。";
    public override string DictateLive => "现场听写";
    public override string DialectSpoken => "所说语言";
    public override string DictationSlowLine => "线路较慢：压缩声音（Opus）";
    public override string DictationBegin => "开始";
    public override string DictationPause => "暂停";
    public override string DictationFinish => "结束";
    public override string DictationText => "文本（可修改）";
    public override string DictationTranslation => "翻译";
    public override string DictationTranslationHint => "仅为草稿。有标记的句子可能遗漏数字、单位、否定、左右或术语。";
    public override string NoteTitle => "标题";
    public override string ProgressNote => "病程记录";
    public override string SendToEmr => "发送至病历";
    public override string Recordings => "录音文件";
    public override string RecordingsHint => "WAV 文件；边上传边识别。";
    public override string NobodyHears => "本节点尚无可用的语音包。";
    public override string DictationListening => "正在听写。";
    public override string DictationPaused => "已暂停。";
    public override string DictationBroken => "连接已中断。请继续讲话，内容已保存，恢复后自动发送。";
    public override string DictationFinishing => "正在处理最后几句。";
    public override string DictationFinished => "听写完成。请核对文本后发送。";
    public override string DictationFull => "连接中断过久，听写到此结束。";
    public override string NoMicrophone => "无法使用麦克风：{0}";
    public override string MicrophoneSilent => "没有听到声音，请检查麦克风。";
    public override string MicrophoneClipped => "麦克风音量过大，声音已失真。";
    public override string Unverified => "未核实";
    public override string Draft => "草稿";
    public override string NoteSent => "病历 {0} 已保存并将送达。修改率 {1}%。";
    public override string RecordingIsHeard => "识别中……";
}
