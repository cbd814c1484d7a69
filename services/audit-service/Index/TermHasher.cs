using System.Security.Cryptography;
using System.Text;

namespace Yizhan.Audit.Index;

/// <summary>
/// Turns what is searched for into a number: the first eight bytes of HMAC-SHA-256(secret, field ‖ 0 ‖ value). The index so holds no
/// name, id or address; what it finds is compared with the record itself before anybody sees it.
/// </summary>
internal sealed class TermHasher(byte[] secret)
{
    private const int MaxCached = 20_000;
    private readonly Dictionary<(string, string), ulong> _cache = [];
    private readonly Lock _gate = new();

    public ulong Of(string field, string value)
    {
        lock (_gate)
        {
            if (_cache.TryGetValue((field, value), out var known))
            {
                return known;
            }
        }

        Span<byte> hash = stackalloc byte[HMACSHA256.HashSizeInBytes];
        HMACSHA256.HashData(secret, Encoding.UTF8.GetBytes($"{field}\0{value}"), hash);
        var term = BitConverter.ToUInt64(hash);

        // An id is not asked for twice; who, what and where are.
        if (field is not Field.Id)
        {
            lock (_gate)
            {
                if (_cache.Count >= MaxCached)
                {
                    _cache.Clear();
                }

                _cache[(field, value)] = term;
            }
        }

        return term;
    }

    /// <summary>All terms of a record, none twice.</summary>
    public ulong[] Of(string site, string id, AuditFacts facts)
    {
        var terms = new List<ulong>(12) { Of(Field.Type, facts.Type), Of(Field.Action, facts.Action), Of(Field.Source, facts.Source), Of(Field.Site, site), Of(Field.Id, id) };
        terms.Add(Of(Field.Outcome, facts.Outcome.ToString(System.Globalization.CultureInfo.InvariantCulture)));
        if (facts.SourceSite is { } sourceSite)
        {
            terms.Add(Of(Field.Site, sourceSite));
        }

        Add(Field.Subtype, facts.Subtypes);
        Add(Field.Agent, facts.Agents);
        Add(Field.Address, facts.Addresses);
        Add(Field.Patient, facts.Patients);
        Add(Field.Entity, facts.Entities);
        return [.. terms.Distinct()];

        void Add(string field, IReadOnlyList<string> values)
        {
            foreach (var value in values)
            {
                terms.Add(Of(field, value));
            }
        }
    }
}

/// <summary>What can be searched for.</summary>
internal static class Field
{
    public const string Type = "type";
    public const string Subtype = "subtype";
    public const string Action = "action";
    public const string Outcome = "outcome";
    public const string Agent = "agent";
    public const string Address = "address";
    public const string Patient = "patient";
    public const string Entity = "entity";
    public const string Source = "source";
    public const string Site = "site";
    public const string Id = "id";

    /// <summary>Not searched for by people: the association of a transfer, so that each is recorded once.</summary>
    public const string Transfer = "transfer";
}
