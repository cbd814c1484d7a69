using System.ComponentModel.DataAnnotations;

namespace Yizhan.AiInfer.Clinical;

/// <summary>Which series a site has analysed by which model: an element of <c>ai-infer:rules</c>. What is not given, the model's bundle decides.</summary>
public sealed class AnalysisRule
{
    /// <summary>Name of the model.</summary>
    [Required]
    public string Model { get; set; } = "";

    /// <summary>Modality; null for that of the bundle.</summary>
    public string? Modality { get; set; }

    /// <summary>Body Part Examined; null for those of the bundle.</summary>
    public string? BodyPart { get; set; }

    /// <summary>Series Description, with * for anything; null for any.</summary>
    public string? SeriesDescription { get; set; }

    /// <summary>Whether pictures of the findings (secondary captures) are stored beside segmentation and report; null for what the bundle says.</summary>
    public bool? SecondaryCapture { get; set; }
}
