using System.Collections.Frozen;
using System.Globalization;
using System.Numerics;

namespace Yizhan.Dicom;

/// <summary>SOP class and other well-known UIDs of PS3.6 annex A. Transfer syntaxes: <see cref="DicomTransferSyntax"/>.</summary>
public static class DicomUids
{
    /// <summary>The DICOM application context (PS3.7 §A.2.1).</summary>
    public const string ApplicationContext = "1.2.840.10008.3.1.1.1";

    /// <summary>Verification SOP class (C-ECHO).</summary>
    public const string Verification = "1.2.840.10008.1.1";

    /// <summary>Media storage directory, the SOP class of a DICOMDIR.</summary>
    public const string MediaStorageDirectory = "1.2.840.10008.1.3.10";

    /// <summary>Storage commitment push model SOP class.</summary>
    public const string StorageCommitmentPushModel = "1.2.840.10008.1.20.1";

    /// <summary>The well-known instance of storage commitment push model.</summary>
    public const string StorageCommitmentPushModelInstance = "1.2.840.10008.1.20.1.1";

    /// <summary>Modality performed procedure step SOP class.</summary>
    public const string ModalityPerformedProcedureStep = "1.2.840.10008.3.1.2.3.3";

    /// <summary>Modality worklist FIND.</summary>
    public const string ModalityWorklistFind = "1.2.840.10008.5.1.4.31";

    /// <summary>Patient root query/retrieve FIND.</summary>
    public const string PatientRootFind = "1.2.840.10008.5.1.4.1.2.1.1";

    /// <summary>Patient root query/retrieve MOVE.</summary>
    public const string PatientRootMove = "1.2.840.10008.5.1.4.1.2.1.2";

    /// <summary>Patient root query/retrieve GET.</summary>
    public const string PatientRootGet = "1.2.840.10008.5.1.4.1.2.1.3";

    /// <summary>Study root query/retrieve FIND.</summary>
    public const string StudyRootFind = "1.2.840.10008.5.1.4.1.2.2.1";

    /// <summary>Study root query/retrieve MOVE.</summary>
    public const string StudyRootMove = "1.2.840.10008.5.1.4.1.2.2.2";

    /// <summary>Study root query/retrieve GET.</summary>
    public const string StudyRootGet = "1.2.840.10008.5.1.4.1.2.2.3";

    /// <summary>CT image storage.</summary>
    public const string CtImageStorage = StoragePrefix + "2";

    /// <summary>MR image storage.</summary>
    public const string MrImageStorage = StoragePrefix + "4";

    /// <summary>Secondary capture image storage.</summary>
    public const string SecondaryCaptureImageStorage = StoragePrefix + "7";

    /// <summary>Segmentation storage.</summary>
    public const string SegmentationStorage = StoragePrefix + "66.4";

    /// <summary>Basic text SR storage.</summary>
    public const string BasicTextSrStorage = StoragePrefix + "88.11";

    /// <summary>Comprehensive SR storage.</summary>
    public const string ComprehensiveSrStorage = StoragePrefix + "88.33";

    /// <summary>Encapsulated PDF storage.</summary>
    public const string EncapsulatedPdfStorage = StoragePrefix + "104.1";

    private const string StoragePrefix = "1.2.840.10008.5.1.4.1.1.";

    private static readonly FrozenDictionary<string, string> Storage = StorageNames().ToFrozenDictionary(s => s.Uid, s => s.Name);

    /// <summary>Every storage SOP class (UID to name), retired ones included: what a gateway offers to accept.</summary>
    public static IReadOnlyDictionary<string, string> StorageSopClasses => Storage;

    /// <summary>The UID "2.25." and the UUID as a decimal number (PS3.5 §B.2).</summary>
    public static string FromGuid(Guid value)
    {
        Span<byte> bytes = stackalloc byte[16];
        value.TryWriteBytes(bytes, bigEndian: true, out _);
        return "2.25." + new BigInteger(bytes, isUnsigned: true, isBigEndian: true).ToString(CultureInfo.InvariantCulture);
    }

    private static IEnumerable<(string Uid, string Name)> StorageNames()
    {
        // Suffix and name; the UID is StoragePrefix + suffix unless it starts with "1.2.".
        const string rows = """
            1 Computed Radiography Image
            1.1 Digital X-Ray Image - For Presentation
            1.1.1 Digital X-Ray Image - For Processing
            1.2 Digital Mammography X-Ray Image - For Presentation
            1.2.1 Digital Mammography X-Ray Image - For Processing
            1.3 Digital Intra-Oral X-Ray Image - For Presentation
            1.3.1 Digital Intra-Oral X-Ray Image - For Processing
            2 CT Image
            2.1 Enhanced CT Image
            2.2 Legacy Converted Enhanced CT Image
            3 Ultrasound Multi-frame Image (Retired)
            3.1 Ultrasound Multi-frame Image
            4 MR Image
            4.1 Enhanced MR Image
            4.2 MR Spectroscopy
            4.3 Enhanced MR Color Image
            4.4 Legacy Converted Enhanced MR Image
            5 Nuclear Medicine Image (Retired)
            6 Ultrasound Image (Retired)
            6.1 Ultrasound Image
            6.2 Enhanced US Volume
            6.3 Photoacoustic Image
            7 Secondary Capture Image
            7.1 Multi-frame Single Bit Secondary Capture Image
            7.2 Multi-frame Grayscale Byte Secondary Capture Image
            7.3 Multi-frame Grayscale Word Secondary Capture Image
            7.4 Multi-frame True Color Secondary Capture Image
            8 Standalone Overlay (Retired)
            9 Standalone Curve (Retired)
            9.1 Waveform - Trial (Retired)
            9.1.1 12-lead ECG Waveform
            9.1.2 General ECG Waveform
            9.1.3 Ambulatory ECG Waveform
            9.1.4 General 32-bit ECG Waveform
            9.2.1 Hemodynamic Waveform
            9.3.1 Cardiac Electrophysiology Waveform
            9.4.1 Basic Voice Audio Waveform
            9.4.2 General Audio Waveform
            9.5.1 Arterial Pulse Waveform
            9.6.1 Respiratory Waveform
            9.6.2 Multi-channel Respiratory Waveform
            9.7.1 Routine Scalp Electroencephalogram Waveform
            9.7.2 Electromyogram Waveform
            9.7.3 Electrooculogram Waveform
            9.7.4 Sleep Electroencephalogram Waveform
            9.8.1 Body Position Waveform
            9.100.1 Waveform Presentation State
            9.100.2 Waveform Acquisition Presentation State
            10 Standalone Modality LUT (Retired)
            11 Standalone VOI LUT (Retired)
            11.1 Grayscale Softcopy Presentation State
            11.2 Color Softcopy Presentation State
            11.3 Pseudo-Color Softcopy Presentation State
            11.4 Blending Softcopy Presentation State
            11.5 XA/XRF Grayscale Softcopy Presentation State
            11.6 Grayscale Planar MPR Volumetric Presentation State
            11.7 Compositing Planar MPR Volumetric Presentation State
            11.8 Advanced Blending Presentation State
            11.9 Volume Rendering Volumetric Presentation State
            11.10 Segmented Volume Rendering Volumetric Presentation State
            11.11 Multiple Volume Rendering Volumetric Presentation State
            11.12 Variable Modality LUT Softcopy Presentation State
            12.1 X-Ray Angiographic Image
            12.1.1 Enhanced XA Image
            12.2 X-Ray Radiofluoroscopic Image
            12.2.1 Enhanced XRF Image
            12.3 X-Ray Angiographic Bi-Plane Image (Retired)
            12.77 Zeiss OPT (Retired)
            13.1.1 X-Ray 3D Angiographic Image
            13.1.2 X-Ray 3D Craniofacial Image
            13.1.3 Breast Tomosynthesis Image
            13.1.4 Breast Projection X-Ray Image - For Presentation
            13.1.5 Breast Projection X-Ray Image - For Processing
            14.1 Intravascular Optical Coherence Tomography Image - For Presentation
            14.2 Intravascular Optical Coherence Tomography Image - For Processing
            20 Nuclear Medicine Image
            30 Parametric Map
            66 Raw Data
            66.1 Spatial Registration
            66.2 Spatial Fiducials
            66.3 Deformable Spatial Registration
            66.4 Segmentation
            66.5 Surface Segmentation
            66.6 Tractography Results
            66.7 Label Map Segmentation
            66.8 Height Map Segmentation
            67 Real World Value Mapping
            68.1 Surface Scan Mesh
            68.2 Surface Scan Point Cloud
            77.1 VL Image - Trial (Retired)
            77.2 VL Multi-frame Image - Trial (Retired)
            77.1.1 VL Endoscopic Image
            77.1.1.1 Video Endoscopic Image
            77.1.2 VL Microscopic Image
            77.1.2.1 Video Microscopic Image
            77.1.3 VL Slide-Coordinates Microscopic Image
            77.1.4 VL Photographic Image
            77.1.4.1 Video Photographic Image
            77.1.5.1 Ophthalmic Photography 8 Bit Image
            77.1.5.2 Ophthalmic Photography 16 Bit Image
            77.1.5.3 Stereometric Relationship
            77.1.5.4 Ophthalmic Tomography Image
            77.1.5.5 Wide Field Ophthalmic Photography Stereographic Projection Image
            77.1.5.6 Wide Field Ophthalmic Photography 3D Coordinates Image
            77.1.5.7 Ophthalmic Optical Coherence Tomography En Face Image
            77.1.5.8 Ophthalmic Optical Coherence Tomography B-scan Volume Analysis
            77.1.6 VL Whole Slide Microscopy Image
            77.1.7 Dermoscopic Photography Image
            77.1.8 Confocal Microscopy Image
            77.1.9 Confocal Microscopy Tiled Pyramidal Image
            78.1 Lensometry Measurements
            78.2 Autorefraction Measurements
            78.3 Keratometry Measurements
            78.4 Subjective Refraction Measurements
            78.5 Visual Acuity Measurements
            78.6 Spectacle Prescription Report
            78.7 Ophthalmic Axial Measurements
            78.8 Intraocular Lens Calculations
            79.1 Macular Grid Thickness and Volume Report
            80.1 Ophthalmic Visual Field Static Perimetry Measurements
            81.1 Ophthalmic Thickness Map
            82.1 Corneal Topography Map
            88.1 Text SR - Trial (Retired)
            88.2 Audio SR - Trial (Retired)
            88.3 Detail SR - Trial (Retired)
            88.4 Comprehensive SR - Trial (Retired)
            88.11 Basic Text SR
            88.22 Enhanced SR
            88.33 Comprehensive SR
            88.34 Comprehensive 3D SR
            88.35 Extensible SR
            88.40 Procedure Log
            88.50 Mammography CAD SR
            88.59 Key Object Selection Document
            88.65 Chest CAD SR
            88.67 X-Ray Radiation Dose SR
            88.68 Radiopharmaceutical Radiation Dose SR
            88.69 Colon CAD SR
            88.70 Implantation Plan SR
            88.71 Acquisition Context SR
            88.72 Simplified Adult Echo SR
            88.73 Patient Radiation Dose SR
            88.74 Planned Imaging Agent Administration SR
            88.75 Performed Imaging Agent Administration SR
            88.76 Enhanced X-Ray Radiation Dose SR
            88.77 Waveform Annotation SR
            90.1 Content Assessment Results
            91.1 Microscopy Bulk Simple Annotations
            104.1 Encapsulated PDF
            104.2 Encapsulated CDA
            104.3 Encapsulated STL
            104.4 Encapsulated OBJ
            104.5 Encapsulated MTL
            128 Positron Emission Tomography Image
            128.1 Legacy Converted Enhanced PET Image
            129 Standalone PET Curve (Retired)
            130 Enhanced PET Image
            131 Basic Structured Display
            200.1 CT Defined Procedure Protocol
            200.2 CT Performed Procedure Protocol
            200.3 Protocol Approval
            200.4 XA Defined Procedure Protocol
            200.5 XA Performed Procedure Protocol
            200.7 Inventory
            481.1 RT Image
            481.2 RT Dose
            481.3 RT Structure Set
            481.4 RT Beams Treatment Record
            481.5 RT Plan
            481.6 RT Brachy Treatment Record
            481.7 RT Treatment Summary Record
            481.8 RT Ion Plan
            481.9 RT Ion Beams Treatment Record
            481.10 RT Physician Intent
            481.11 RT Segment Annotation
            481.12 RT Radiation Set
            481.13 C-Arm Photon-Electron Radiation
            481.14 Tomotherapeutic Radiation
            481.15 Robotic-Arm Radiation
            481.16 RT Radiation Record Set
            481.17 RT Radiation Salvage Record
            481.18 Tomotherapeutic Radiation Record
            481.19 C-Arm Photon-Electron Radiation Record
            481.20 Robotic Radiation Record
            481.21 RT Radiation Set Delivery Instruction
            481.22 RT Treatment Preparation
            481.23 Enhanced RT Image
            481.24 Enhanced Continuous RT Image
            481.25 RT Patient Position Acquisition Instruction
            501.1 DICOS CT Image
            501.2.1 DICOS Digital X-Ray Image - For Presentation
            501.2.2 DICOS Digital X-Ray Image - For Processing
            501.3 DICOS Threat Detection Report
            501.4 DICOS 2D AIT
            501.5 DICOS 3D AIT
            501.6 DICOS Quadrupole Resonance
            601.1 Eddy Current Image
            601.2 Eddy Current Multi-frame Image
            1.2.840.10008.5.1.4.34.7 RT Beams Delivery Instruction
            1.2.840.10008.5.1.4.34.10 RT Brachy Application Setup Delivery Instruction
            1.2.840.10008.5.1.4.38.1 Hanging Protocol
            1.2.840.10008.5.1.4.39.1 Color Palette
            1.2.840.10008.5.1.4.43.1 Generic Implant Template
            1.2.840.10008.5.1.4.44.1 Implant Assembly Template
            1.2.840.10008.5.1.4.45.1 Implant Template Group
            """;
        foreach (var row in rows.Split('\n', StringSplitOptions.TrimEntries))
        {
            var space = row.IndexOf(' ', StringComparison.Ordinal);
            var uid = row[..space];
            yield return (uid.StartsWith("1.2.840.", StringComparison.Ordinal) ? uid : StoragePrefix + uid, row[(space + 1)..] + " Storage");
        }
    }
}
