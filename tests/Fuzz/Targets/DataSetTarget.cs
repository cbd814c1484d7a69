using Yizhan.Dicom;

namespace Yizhan.Fuzz.Targets;

/// <summary>
/// Part 10 files: the tokenizer, the stream inspector, the parser, the writer and the DICOM JSON model. What the one accepts the others do; what
/// is written is read as what it was.
/// </summary>
internal sealed class DataSetTarget(DataSetMutator mutator) : Target
{
    private static readonly DicomLimits Limits = new() { MaxInflatedBytes = 256 * 1024 };
    private static readonly DicomInspectorOptions Inspecting = new() { Limits = Limits };
    private static readonly DicomJsonOptions Json = new() { ReadBulkData = (_, _) => ReadOnlyMemory<byte>.Empty, Limits = Limits };

    public override string Name => "data-set";

    // A deflated file may inflate to the limit, and is then read several times over.
    public override (long Fixed, int PerByte) AllocationBound => (16 * 1024 * 1024, 2000);

    public override byte[] Make(Chance chance) => mutator.Make(chance);

    public override bool Read(byte[] input, int choice)
    {
        var (parsed, refusal) = Parse(input);
        var inspected = Inspect(input, 1 + (choice % 200));
        if (parsed is null)
        {
            // The length of deflated data is not known in advance, so it is found wrong in other words.
            return inspected is not null && (inspected == refusal || DicomFileHeader.Read(input).TransferSyntax.IsDeflated)
                ? false
                : throw new Finding($"Parsing refuses ({refusal}) what inspecting takes or refuses otherwise ({inspected ?? "taken"})");
        }

        if (inspected is not null && parsed.Dataset.Count > 0)
        {
            throw new Finding($"Inspecting refuses what parsing takes: {inspected}");
        }

        ReadEveryValue(parsed.Dataset, 0);
        WriteAndReadAgain(parsed);
        if (choice % 4 == 0)
        {
            var json = DicomJson.ToUtf8Bytes(parsed.Dataset, Json);
            DicomJson.Read(json, Json);
        }

        return true;
    }

    private static (DicomFile? File, string? Refusal) Parse(byte[] input)
    {
        try
        {
            return (DicomFile.Parse(input, Limits), null);
        }
        catch (DicomFormatException e)
        {
            return (null, e.Message);
        }
    }

    /// <summary>Null, or why it was refused. Counts tokens: a loop that makes no progress is found without a clock.</summary>
    private static string? Inspect(byte[] input, int slice)
    {
        try
        {
            var header = DicomFileHeader.Read(input);
            var data = input.AsSpan((int)header.DatasetOffset);
            if (header.TransferSyntax.IsDeflated)
            {
                var inflating = new DicomStreamInspector(header.TransferSyntax, Inspecting);
                for (var rest = data; !rest.IsEmpty; rest = rest[Math.Min(slice, rest.Length)..])
                {
                    inflating.Push(rest[..Math.Min(slice, rest.Length)]);
                }

                inflating.Complete();
                return null;
            }

            var tokenizer = new DicomTokenizer(header.TransferSyntax, Limits, data.Length, header.DatasetOffset);
            var tokens = 0;
            for (var rest = data; !rest.IsEmpty; rest = rest[Math.Min(slice, rest.Length)..])
            {
                ReadOnlySpan<byte> piece = rest[..Math.Min(slice, rest.Length)];
                while (tokenizer.Read(ref piece))
                {
                    // Each header has 8 bytes; each start, at most one end.
                    if (++tokens > (data.Length / 4) + 4)
                    {
                        throw new Finding($"More than {tokens} tokens came out of {data.Length} bytes");
                    }
                }
            }

            tokenizer.Complete();
            DicomStreamInspector.InspectFile(input, Inspecting);
            return null;
        }
        catch (DicomFormatException e)
        {
            return e.Message;
        }
    }

    private static void ReadEveryValue(DicomDataset dataset, int depth)
    {
        foreach (var element in dataset)
        {
            dataset.GetStrings(element.Tag);
            dataset.GetDoubles(element.Tag);
            dataset.GetInt64s(element.Tag);
            dataset.GetPersonName(element.Tag);
            foreach (var item in element.Items ?? [])
            {
                if (depth > Limits.MaxDepth)
                {
                    throw new Finding($"Sequences are nested deeper than {Limits.MaxDepth}");
                }

                ReadEveryValue(item, depth + 1);
            }
        }
    }

    private static void WriteAndReadAgain(DicomFile file)
    {
        // Fragments in a native syntax are possible in a mutated file and have no writing there.
        var syntax = file.TransferSyntax with { IsEncapsulated = true, IsDeflated = false };
        var written = DicomWriter.ToArray(file.Dataset, syntax);
        var again = DicomDataset.Parse(written, syntax, Limits);
        if (!DicomWriter.ToArray(again, syntax).AsSpan().SequenceEqual(written))
        {
            throw new Finding("What was written is read as something else");
        }

        if (again.Count != file.Dataset.Count)
        {
            throw new Finding($"{file.Dataset.Count} elements were written, {again.Count} read");
        }
    }
}
