using System.Buffers.Binary;
using Yizhan.Dicom;
using Yizhan.Dicom.Network;
using Yizhan.Drills;

namespace Yizhan.Bench;

/// <summary>One multi-frame instance of gigabytes, made while it is sent: shows that memory does not grow with the instance.</summary>
internal static class LargeInstance
{
    /// <summary>Peak memory of the site's process in MB: after ten small instances, and after the large one.</summary>
    public static async Task<(double Before, double After)> MeasureAsync(string folder, int megabytes, CancellationToken cancellationToken)
    {
        var data = Path.Combine(folder, "large");
        if (Directory.Exists(data))
        {
            Directory.Delete(data, recursive: true);
        }

        var site = LocalSite.Prepare(data, LocalSite.DcmtkPeers, LocalPorts.Free());
        await using var node = await site.StartEdgeAsync(cancellationToken);
        await SendAsync(site.Ports.Dicom, [.. Enumerable.Range(1, 10).Select(i => Instance(i, frames: 1))], cancellationToken);
        var before = ProcessUse.PeakMemoryMb(node.Process);
        await SendAsync(site.Ports.Dicom, [Instance(99, frames: megabytes * 2)], cancellationToken);
        return (before, ProcessUse.PeakMemoryMb(node.Process));
    }

    private const int FrameBytes = 512 * 512 * 2;

    private static async Task SendAsync(int port, StoreInstance[] instances, CancellationToken cancellationToken)
    {
        var scu = new StoreScu(
            (request, token) => Connector.RequestAsync("127.0.0.1", port, request, new AssociationOptions(), TimeProvider.System, token),
            Scanner.AeTitle, LocalSite.AeTitle);
        foreach (var result in await scu.SendAsync(instances, cancellationToken))
        {
            if (!result.IsStored)
            {
                throw new InvalidOperationException($"The instance was not stored: {result.Outcome} 0x{result.Status:X4} {result.Message}");
            }
        }
    }

    /// <summary>A multi-frame grayscale word secondary capture (PS3.3 §A.8.4) with a pattern as its pixels.</summary>
    private static StoreInstance Instance(int number, int frames)
    {
        const string MultiFrameGrayscaleWord = "1.2.840.10008.5.1.4.1.1.7.3";
        var uid = $"2.25.2026112200{number}";
        var header = DicomWriter.ToArray(
            new DicomDataset()
                .Set(DicomTags.SOPClassUID, MultiFrameGrayscaleWord)
                .Set(DicomTags.SOPInstanceUID, uid)
                .Set(DicomTags.Modality, "OT")
                .Set(DicomTags.PatientID, "BENCH")
                .Set(DicomTags.StudyInstanceUID, "2.25.20261122")
                .Set(DicomTags.SeriesInstanceUID, "2.25.202611221")
                .Set(DicomTags.SamplesPerPixel, 1)
                .Set(DicomTags.PhotometricInterpretation, "MONOCHROME2")
                .Set(DicomTags.NumberOfFrames, frames)
                .Set(DicomTags.Rows, 512)
                .Set(DicomTags.Columns, 512)
                .Set(DicomTags.BitsAllocated, 16)
                .Set(DicomTags.BitsStored, 16)
                .Set(DicomTags.HighBit, 15)
                .Set(DicomTags.PixelRepresentation, 0L),
            DicomTransferSyntax.ExplicitVrLittleEndian);

        // Pixel data, OW, 32-bit length (PS3.5 §7.1.2); the value follows as a pattern.
        var start = new byte[header.Length + 12];
        header.CopyTo(start, 0);
        var element = start.AsSpan(header.Length);
        BinaryPrimitives.WriteUInt16LittleEndian(element, 0x7FE0);
        BinaryPrimitives.WriteUInt16LittleEndian(element[2..], 0x0010);
        "OW"u8.CopyTo(element[4..]);
        BinaryPrimitives.WriteUInt32LittleEndian(element[8..], checked((uint)frames * FrameBytes));
        return new StoreInstance(
            MultiFrameGrayscaleWord, uid, DicomTransferSyntax.ExplicitVrLittleEndian.Uid, () => new PatternStream(start, (long)frames * FrameBytes));
    }

    /// <summary>Some bytes, then a pattern without end of its own; never in memory at once.</summary>
    private sealed class PatternStream(byte[] start, long pattern) : Stream
    {
        private long _position;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => start.Length + pattern;

        public override long Position { get => _position; set => throw new NotSupportedException(); }

        public override int Read(Span<byte> buffer)
        {
            var count = (int)Math.Min(buffer.Length, Length - _position);
            for (var i = 0; i < count; i++)
            {
                var at = _position + i;
                buffer[i] = at < start.Length ? start[at] : (byte)(at * 31 >> 3);
            }

            _position += count;
            return count;
        }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => new(Read(buffer.Span));

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
