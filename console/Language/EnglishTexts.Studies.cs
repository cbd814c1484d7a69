namespace Yizhan.Console.Language;

internal sealed partial class EnglishTexts
{
    public override string StudiesNotForYou => "Studies are open to clinicians and radiographers. Ask an administrator for one of these roles at this site.";
    public override string FindStudies => "Find studies";
    public override string PatientName => "Patient name";
    public override string AccessionNumber => "Accession number";
    public override string StudyNameHint => "A name in characters or in pinyin, whole or its beginning, such as wang xiao.";
    public override string FoundStudies => "Studies found";
    public override string NoStudyFound => "No study matches";
    public override string NoStudyFoundHint => "Leave fields empty that do not matter, or widen the days. A study that is still at a site without its line is not here yet.";
    public override string Images => "Images";
    public override string OpenImages => "Open";
    public override string OpenImagesOf(string who) => $"Open the images of {who}";
    public override string WayOfStudy => "Way of the study";
    public override string StudyNotHere => "There is no study of this number in the archive of this node. It may still be on its way from its site.";
    public override string BackToStudies => "All studies";

    public override string StepName(string name) => name switch
    {
        "received" => "Received",
        "durable" => "Durable",
        "shipped" => "Shipped",
        "indexed" => "Indexed",
        "analysed" => "Analysed",
        "emr" => "In the EMR",
        _ => name,
    };

    public override string StepStateName(string state) => state switch
    {
        "done" => "done",
        "open" => "not yet",
        "stopped" => "needs a person",
        "unknown" => "not known here",
        _ => state,
    };

    public override IReadOnlyDictionary<string, string> Viewer { get; } = new Dictionary<string, string>
    {
        ["tools"] = "Tools",
        ["window"] = "Window",
        ["measure"] = "Length",
        ["scroll"] = "Scroll",
        ["zoom"] = "Zoom",
        ["pan"] = "Move",
        ["preset"] = "Window preset",
        ["presetOwn"] = "of the image",
        ["lung"] = "Lung",
        ["soft"] = "Soft tissue",
        ["bone"] = "Bone",
        ["brain"] = "Brain",
        ["reset"] = "Reset",
        ["mpr"] = "Three planes",
        ["axial"] = "Axial",
        ["sagittal"] = "Sagittal",
        ["coronal"] = "Coronal",
        ["noVolume"] = "Planes across are computed of four images or more that lie evenly one behind the other; these do not.",
        ["opacity"] = "Segmentation",
        ["prior"] = "Beside it",
        ["noPrior"] = "no other study of this patient",
        ["besideNothing"] = "nothing",
        ["image"] = "Image",
        ["imageOf"] = "image {0} of {1}",
        ["instances"] = "{0} images",
        ["series"] = "Series",
        ["findings"] = "Findings",
        ["measurements"] = "Measurements",
        ["noFindings"] = "No report of a model has come.",
        ["nothingFound"] = "The model found nothing.",
        ["preliminary"] = "A proposal of a model: nobody has confirmed it.",
        ["measureHint"] = "Choose Length and draw a line on the image, or press Enter on it: arrow keys move a mark (with Shift ten pixels), Enter sets each end, Escape leaves.",
        ["markStart"] = "Arrow keys move the mark, Enter sets the first end.",
        ["markEnd"] = "The first end is set. Arrow keys move to the other, Enter sets it.",
        ["remove"] = "Remove",
        ["noPicture"] = "Nothing here can be shown as a picture.",
        ["notHere"] = "The image of this finding is not here.",
        ["failed"] = "That did not work:",
        ["missing"] = "The viewer is not part of this build: build it with npm at hand (console/viewer/build.sh), or open the study in any DICOMweb viewer.",
    };
}
