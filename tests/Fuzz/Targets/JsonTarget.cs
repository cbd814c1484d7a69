using System.Text.Json;
using Yizhan.Dicom;

namespace Yizhan.Fuzz.Targets;

/// <summary>The DICOM JSON model as strangers send it (STOW-RS, UPS-RS).</summary>
internal sealed class JsonTarget(IReadOnlyList<Seed> seeds) : Target
{
    private static readonly DicomJsonOptions Options = new() { BulkDataUri = e => e.Value.Length > 64 || e.Fragments is not null ? "b/1" : null, ReadBulkData = (_, _) => ReadOnlyMemory<byte>.Empty };

    private static readonly byte[][] Pieces =
    [
        "null"u8.ToArray(), "[[[[[[[["u8.ToArray(), "{\"vr\":\"SQ\",\"Value\":[{"u8.ToArray(), "1e999"u8.ToArray(), "\"\\ud800\""u8.ToArray(), "-1"u8.ToArray(), "\"InlineBinary\":\"AAAA\""u8.ToArray(),
        "\"vr\":\"UN\""u8.ToArray(), "\"vr\":\"DS\""u8.ToArray(), "\"00100010\""u8.ToArray(), "{}"u8.ToArray(), "\"Alphabetic\":1"u8.ToArray(), "18446744073709551616"u8.ToArray(), "\"\\u0000\""u8.ToArray(),
    ];

    private readonly byte[][] _seeds = [.. seeds.Select(s => DicomJson.ToUtf8Bytes(DicomFile.Parse(s.Bytes).Dataset, Options))];
    private readonly Dictionary<byte[], List<(int At, int Length)>> _strings = [];
    private readonly Edits _edits = new();

    public override string Name => "json";

    public override (long Fixed, int PerByte) AllocationBound => (1024 * 1024, 1000);

    public override byte[] Make(Chance chance)
    {
        var seed = chance.Of<byte[]>(_seeds);
        for (var n = 1 + chance.Below(2); n > 0; n--)
        {
            switch (chance.Below(4))
            {
                case 0:
                    _edits.AddBlind(seed, 0, chance);
                    break;
                case 1:
                    _edits.Replace(chance.Below(seed.Length), chance.Below(12), chance.Of<byte[]>(Pieces));
                    break;
                default:
                    // A whole value, so that what is around it stays JSON.
                    var (at, length) = Strings(seed)[chance.Below(Strings(seed).Count)];
                    _edits.Replace(at, length, chance.Of<byte[]>(Pieces));
                    break;
            }
        }

        return _edits.Apply(seed);
    }

    /// <summary>The places of the strings of a seed, quotes included.</summary>
    private List<(int At, int Length)> Strings(byte[] seed)
    {
        if (!_strings.TryGetValue(seed, out var found))
        {
            found = [];
            var reader = new Utf8JsonReader(seed);
            while (reader.Read())
            {
                if (reader.TokenType is JsonTokenType.String or JsonTokenType.Number)
                {
                    found.Add(((int)reader.TokenStartIndex, (int)(reader.BytesConsumed - reader.TokenStartIndex)));
                }
            }

            _strings.Add(seed, found);
        }

        return found;
    }

    public override bool Read(byte[] input, int choice)
    {
        DicomDataset dataset;
        try
        {
            dataset = DicomJson.Read(input, Options);
        }
        catch (DicomFormatException)
        {
            return false;
        }

        var syntax = DicomTransferSyntax.ExplicitVrLittleEndian with { IsEncapsulated = true };
        DicomDataset.Parse(DicomWriter.ToArray(dataset, syntax), syntax);
        DicomJson.Read(DicomJson.ToUtf8Bytes(dataset, Options), Options);
        return true;
    }
}
