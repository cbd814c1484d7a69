namespace Yizhan.Link;

/// <summary>Routes, media types, header names and bounds of the link, version 1. Both ends compile against this file.</summary>
public static class LinkRoutes
{
    /// <summary>GET, with <c>?epoch=</c>: high-water marks of the caller's log; body <see cref="LinkMarks"/>.</summary>
    public const string Marks = "/fleet/link/v1/marks";

    /// <summary>POST an <see cref="EntryBatch"/>; answered with <see cref="LinkMark"/> once the entries are durable.</summary>
    public const string Entries = "/fleet/link/v1/entries";

    /// <summary>POST <see cref="MissingQuestion"/>; answered with <see cref="MissingAnswer"/>. Changes nothing.</summary>
    public const string Missing = "/fleet/link/v1/blobs/missing";

    /// <summary>PUT a run of chunks that begins with chunk <c>index</c>, with <c>?length=</c> of the whole blob.</summary>
    public const string Chunks = "/fleet/link/v1/blobs/{sha256}/{index:long}";

    /// <summary>PUT the site's status (<c>SiteStatus</c> of the contracts).</summary>
    public const string Status = "/fleet/link/v1/status";

    /// <summary>GET, with <c>?running=&amp;refused=</c> (digests): the configuration release for the caller, or 204 when it needs none.</summary>
    public const string Release = "/fleet/link/v1/release";

    /// <summary>POST a request (PKCS #10) for the caller's next certificate; answered with it and its chain.</summary>
    public const string Certificate = "/fleet/link/v1/certificate";

    /// <summary>GET, with <c>?after=</c> (number of the newest that is known): signed revocations, at most 256.</summary>
    public const string Revocations = "/fleet/link/v1/revocations";

    /// <summary>
    /// GET, with <c>?after=</c> (number of the newest that is known): the signed list of who may sign in at the caller without the centre, or 204
    /// when there is no newer one.
    /// </summary>
    public const string Accounts = "/fleet/link/v1/accounts";

    /// <summary>GET, with <c>?after=</c> (number of the newest that is known): what the centre orders about the caller's models, oldest first, at most 100.</summary>
    public const string Rollouts = "/fleet/link/v1/rollouts";

    /// <summary>Media type of <see cref="EntryBatch"/>.</summary>
    public const string EntriesType = "application/vnd.yizhan.entries";

    /// <summary>Media type of a run of chunks.</summary>
    public const string ChunksType = "application/octet-stream";

    /// <summary>RFC 9530: <c>sha-256=:base64:</c> of the body as sent, after compression.</summary>
    public const string ContentDigest = "Content-Digest";

    /// <summary>RFC 8878 content coding, accepted for entries and chunks.</summary>
    public const string Zstd = "zstd";

    /// <summary>Most entries of one batch.</summary>
    public const int MaxBatchEntries = 256;

    /// <summary>Most bytes of any body, after decompression: a run of 4 MiB, or one entry of 1 MiB with its header.</summary>
    public const int MaxBodyBytes = 4 * 1024 * 1024;

    /// <summary>Most blobs of one question.</summary>
    public const int MaxQuestionBlobs = 64;

    /// <summary>Most ranges that an answer gives for one blob: the first ones; ask again when they are sent.</summary>
    public const int MaxAnswerRanges = 64;
}
