using System.Buffers;

namespace Yizhan.Dicom;

/// <summary>Who wrote a file (PS3.10 §7.1) or opens an association (PS3.7 §D.3.3.2).</summary>
public sealed record DicomImplementation
{
    /// <summary>This library.</summary>
    public static DicomImplementation Default { get; } = new();

    /// <summary>Implementation Class UID. The default is derived from a random UUID (PS3.5 §B.2).</summary>
    public string ClassUid { get; init; } = "2.25.213681243868147430938846307386204137229";

    /// <summary>Implementation Version Name, at most 16 characters.</summary>
    public string VersionName { get; init; } = "YIZHAN";
}

public sealed partial class DicomFile
{
    /// <summary>A file for a data set that has SOP Class UID and SOP Instance UID.</summary>
    /// <exception cref="ArgumentException">One of the two is missing.</exception>
    public static DicomFile Create(DicomDataset dataset, DicomTransferSyntax syntax, DicomImplementation? implementation = null)
    {
        var header = CreateHeader(
            dataset.GetString(DicomTags.SOPClassUID) ?? throw new ArgumentException("The data set has no SOP Class UID."),
            dataset.GetString(DicomTags.SOPInstanceUID) ?? throw new ArgumentException("The data set has no SOP Instance UID."),
            syntax,
            implementation: implementation);
        return new DicomFile(header, dataset);
    }

    /// <summary>Meta information for a data set that is written as it came, such as that of a C-STORE.</summary>
    /// <param name="sopClassUid">Media Storage SOP Class UID: the Affected SOP Class UID of the request.</param>
    /// <param name="sopInstanceUid">Media Storage SOP Instance UID.</param>
    /// <param name="syntax">The transfer syntax of the presentation context.</param>
    /// <param name="sourceAeTitle">Source Application Entity Title; null to leave it out.</param>
    /// <param name="implementation">Who writes; null for this library.</param>
    public static DicomFileHeader CreateHeader(
        string sopClassUid, string sopInstanceUid, DicomTransferSyntax syntax, string? sourceAeTitle = null, DicomImplementation? implementation = null)
    {
        implementation ??= DicomImplementation.Default;
        var meta = new DicomDataset()
            .Set(DicomTags.FileMetaInformationGroupLength, 0L)
            .SetBytes(DicomTags.FileMetaInformationVersion, new byte[] { 0, 1 })
            .Set(DicomTags.MediaStorageSOPClassUID, sopClassUid)
            .Set(DicomTags.MediaStorageSOPInstanceUID, sopInstanceUid)
            .Set(DicomTags.TransferSyntaxUID, syntax.Uid)
            .Set(DicomTags.ImplementationClassUID, implementation.ClassUid)
            .Set(DicomTags.ImplementationVersionName, implementation.VersionName);
        if (sourceAeTitle is not null)
        {
            meta.Set(DicomTags.SourceApplicationEntityTitle, sourceAeTitle);
        }

        var length = DicomWriter.ToArray(meta, DicomTransferSyntax.ExplicitVrLittleEndian).Length;
        return new DicomFileHeader(true, meta, syntax, false, DicomFileHeader.PreambleLength + length);
    }

    /// <summary>Writes preamble and meta information; the data set's bytes follow it.</summary>
    public static void WriteHeader(IBufferWriter<byte> output, DicomFileHeader header)
    {
        var preamble = output.GetSpan(DicomFileHeader.PreambleLength)[..DicomFileHeader.PreambleLength];
        preamble.Clear();
        "DICM"u8.CopyTo(preamble[128..]);
        output.Advance(DicomFileHeader.PreambleLength);
        DicomWriter.Write(output, header.Meta, DicomTransferSyntax.ExplicitVrLittleEndian);
    }

    /// <summary>Writes the whole file: preamble (zeros), meta information, data set.</summary>
    public void Write(IBufferWriter<byte> output, DicomSequenceLength lengths = DicomSequenceLength.AsRead)
    {
        WriteHeader(output, Header);
        DicomWriter.Write(output, Dataset, TransferSyntax, lengths);
    }

    /// <summary>The same data set in another transfer syntax that needs no codec.</summary>
    /// <remarks>Meta information is kept apart from the transfer syntax.</remarks>
    public DicomFile WithTransferSyntax(DicomTransferSyntax syntax)
    {
        var meta = new DicomDataset();
        foreach (var element in Meta)
        {
            meta.Set(element);
        }

        meta.Set(DicomTags.FileMetaInformationGroupLength, 0L).Set(DicomTags.TransferSyntaxUID, syntax.Uid);
        var length = DicomWriter.ToArray(meta, DicomTransferSyntax.ExplicitVrLittleEndian).Length;
        return new DicomFile(new DicomFileHeader(true, meta, syntax, false, DicomFileHeader.PreambleLength + length), Dataset);
    }
}
