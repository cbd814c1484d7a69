using System.Globalization;
using System.Numerics;
using System.Security.Cryptography;
using System.Text;

namespace Yizhan.Transparency;

/// <summary>An entry for <see cref="EvidenceFile"/>.</summary>
/// <param name="Index">Place in the log.</param>
/// <param name="Leaf">Bytes of the leaf.</param>
/// <param name="Proof">Siblings from the leaf up, in the tree of the checkpoint.</param>
/// <param name="Salt">Null when the key of the record was destroyed.</param>
/// <param name="Record">Null when the key of the record was destroyed.</param>
public sealed record EvidenceEntry(long Index, ReadOnlyMemory<byte> Leaf, IReadOnlyList<TreeHash> Proof, ReadOnlyMemory<byte>? Salt, ReadOnlyMemory<byte>? Record);

/// <summary>
/// What an auditor is given: entries with their proofs, the signed checkpoint, the key, and one page that says how to check all of it
/// with a shell, <c>openssl</c> and <c>sha256sum</c>, without any program of ours.
/// </summary>
public static class EvidenceFile
{
    /// <summary>The page of instructions. Its commands are the lines that begin with four spaces.</summary>
    public const string Page = "README.txt";

    /// <summary>Makes the files, by their relative path.</summary>
    /// <param name="checkpoint">Signed note.</param>
    /// <param name="key">Key of the log.</param>
    /// <param name="entries">At least one.</param>
    /// <exception cref="InvalidDataException">The checkpoint is not signed by this key, or an entry is not in its tree: no evidence is made of what is not true.</exception>
    public static IReadOnlyDictionary<string, byte[]> Make(ReadOnlyMemory<byte> checkpoint, NoteKey key, IReadOnlyList<EvidenceEntry> entries)
    {
        if (!Checkpoint.TryOpen(checkpoint.Span, key, out var opened) || !SignedNote.TryParse(checkpoint.Span, out var note))
        {
            throw new InvalidDataException($"The checkpoint is not signed by {key}.");
        }

        var files = new SortedDictionary<string, byte[]>(StringComparer.Ordinal)
        {
            ["checkpoint.txt"] = Encoding.UTF8.GetBytes(note.Text),
            ["checkpoint.sig"] = note.Signatures.First(s => s.Name == key.Name && s.KeyId == key.Id).Bytes.ToArray(),
            ["log-key.pem"] = Encoding.ASCII.GetBytes(key.ToPem() + "\n"),
        };
        foreach (var entry in entries)
        {
            if (!Merkle.IsIncluded(Merkle.LeafHash(entry.Leaf.Span), entry.Index, opened.Size, [.. entry.Proof], opened.Root))
            {
                throw new InvalidDataException($"Entry {entry.Index} is not in the tree of the checkpoint.");
            }

            var folder = FolderOf(entry);
            files[$"{folder}/leaf.json"] = entry.Leaf.ToArray();
            files[$"{folder}/path"] = Encoding.ASCII.GetBytes(PathOf(entry, opened.Size));
            if (entry is { Salt: { } salt, Record: { } record })
            {
                files[$"{folder}/salt"] = salt.ToArray();
                files[$"{folder}/record.json"] = record.ToArray();
            }
        }

        files[Page] = Encoding.UTF8.GetBytes(PageOf(opened, key, entries));
        files["SHA256SUMS"] = Encoding.ASCII.GetBytes(string.Concat(files.Select(f => $"{Convert.ToHexStringLower(SHA256.HashData(f.Value))}  {f.Key}\n")));
        return files;
    }

    private static string FolderOf(EvidenceEntry entry) => string.Create(CultureInfo.InvariantCulture, $"entry-{entry.Index}");

    /// <summary>Each sibling with its side, so that a reader needs no arithmetic (RFC 9162 §2.1.3.2).</summary>
    private static string PathOf(EvidenceEntry entry, long size)
    {
        var path = new StringBuilder();
        var (node, last) = (entry.Index, size - 1);
        foreach (var sibling in entry.Proof)
        {
            var isLeft = (node & 1) == 1 || node == last;
            path.Append(isLeft ? "left " : "right ").Append(sibling.ToBase64()).Append('\n');
            var levels = isLeft ? BitOperations.TrailingZeroCount(node) : 0;
            (node, last) = (node >> levels >> 1, last >> levels >> 1);
        }

        return path.ToString();
    }

    private static string PageOf(Checkpoint checkpoint, NoteKey key, IReadOnlyList<EvidenceEntry> entries)
    {
        var fingerprint = Convert.ToHexStringLower(SHA256.HashData(Convert.FromBase64String(string.Concat(key.ToPem().Split('\n')[1..^1]))));
        var verify = key.IsEd25519
            ? "openssl pkeyutl -verify -pubin -inkey log-key.pem -rawin -in checkpoint.txt -sigfile checkpoint.sig"
            : "openssl dgst -sha256 -verify log-key.pem -signature checkpoint.sig checkpoint.txt";
        return $$"""
            EVIDENCE FROM AN AUDIT LOG

            Log:        {{checkpoint.Origin}}
            Size:       {{checkpoint.Size.ToString(CultureInfo.InvariantCulture)}} entries
            Key:        {{key}}
            Entries:    {{string.Join(", ", entries.Select(e => e.Index))}}

            What each entry says is in entry-N/record.json. Where there is no such file, the key of the record was destroyed (a person was
            erased): that something was recorded, and when, is still proven by entry-N/leaf.json.

            HOW TO VERIFY

            You need a POSIX shell, openssl 3 and sha256sum. Run the indented lines in the folder of this page, in one shell. If a
            line fails, the evidence is not what the log has signed.

            1. Nothing was damaged on the way:

                set -e
                sha256sum --strict -c SHA256SUMS

            2. The key is the one that the operator of the log has published. Compare this fingerprint with a copy that did not come with
               this evidence; whoever can exchange all files can exchange the key, too:

                fingerprint=$(openssl pkey -pubin -in log-key.pem -outform DER | sha256sum)
                [ "${fingerprint%% *}" = {{fingerprint}} ]

            3. The key has signed the state of the log: its size and the root of its Merkle tree (RFC 6962), in checkpoint.txt:

                {{verify}}

            4. Each entry is in the tree, and its record is the one that was recorded: the leaf with its siblings gives the root, and the
               leaf has the SHA-256 of salt and record.

                { read -r origin; read -r size; read -r root; } < checkpoint.txt
                raw() { openssl base64 -e -in "$1" | openssl base64 -d; }
                hash() { openssl dgst -sha256 -binary | openssl base64 -e; }
                for entry in {{string.Join(' ', entries.Select(FolderOf))}}; do
                  h=$({ printf '\000'; raw $entry/leaf.json; } | hash)
                  while read -r side sibling; do
                    if [ "$side" = left ]; then l=$sibling r=$h; else l=$h r=$sibling; fi
                    h=$({ printf '\001'; printf '%s\n' "$l" | openssl base64 -d; printf '%s\n' "$r" | openssl base64 -d; } | hash)
                  done < $entry/path
                  [ "$h" = "$root" ] || { echo "$entry is NOT in the log"; exit 1; }
                  if [ -e $entry/record.json ]; then
                    digest=$({ raw $entry/salt; raw $entry/record.json; } | sha256sum)
                    read -r leaf < $entry/leaf.json || true
                    case $leaf in
                      *"\"payload\":\"${digest%% *}\""*) echo "$entry is in the log, with this record" ;;
                      *) echo "$entry has ANOTHER record"; exit 1 ;;
                    esac
                  else
                    echo "$entry is in the log; its record was erased"
                  fi
                done

            """.Replace("\r", "", StringComparison.Ordinal);
    }
}
