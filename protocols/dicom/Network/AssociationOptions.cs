namespace Yizhan.Dicom.Network;

/// <summary>Every limit of one association. The defaults suit a gateway that faces strangers.</summary>
public sealed record AssociationOptions
{
    /// <summary>
    /// The P-DATA-TF length that we offer to the peer, in bytes (PS3.8 Annex D.1), 4096 to 1 MiB, default 131072: the most that dcmtk
    /// ever sends, and half of a 256 KiB read, so that one read brings at least one whole PDU. PDUs are streamed, not
    /// collected, so a larger value costs no memory but brings no speed either.
    /// </summary>
    public int MaxPduBytes { get; init; } = 131072;

    /// <summary>The longest P-DATA-TF that we send, whatever the peer offers, in bytes; default 131072.</summary>
    public int MaxSendPduBytes { get; init; } = 131072;

    /// <summary>Small PDUs are collected up to this size and go out in one write, in bytes; default 256 KiB.</summary>
    public int SendBufferBytes { get; init; } = 256 * 1024;

    /// <summary>The longest A-ASSOCIATE PDU, in bytes; default 256 KiB (128 contexts with 20 transfer syntaxes each need 180 KiB).</summary>
    public int MaxAssociateBytes { get; init; } = 256 * 1024;

    /// <summary>Presentation contexts in one A-ASSOCIATE-RQ, 1 to 128 (PS3.8 §9.3.2.2: odd ids of one byte).</summary>
    public int MaxPresentationContexts { get; init; } = 128;

    /// <summary>The longest command set, in bytes with the header of each fragment, default 64 KiB.</summary>
    public int MaxCommandSetBytes { get; init; } = 64 * 1024;

    /// <summary>The longest data set, in bytes, default 64 GiB: only so that a data set that never ends does end.</summary>
    public long MaxDataSetBytes { get; init; } = 64L << 30;

    /// <summary>
    /// Operations that may be outstanding in each direction, 1 to 1024, default 16. As acceptor the bound on what the peer asks for, as
    /// requestor what we ask for (PS3.7 Annex D.3.3.3). 1 keeps the association synchronous and proposes nothing.
    /// </summary>
    public int MaxOperations { get; init; } = 16;

    /// <summary>
    /// The ARTIM timer of PS3.8 §9.1.5, default 30 s: from the open connection to the A-ASSOCIATE-RQ, and from the last PDU to the closed
    /// connection. Also how long we wait for an A-ASSOCIATE or A-RELEASE answer.
    /// </summary>
    public TimeSpan Artim { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long the peer may be silent between two PDUs while nothing is owed to it, default 60 s.</summary>
    public TimeSpan IdleTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>How long the peer may take from the first byte of a PDU (or of a command set) to its last one, default 60 s.</summary>
    public TimeSpan PduTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>How long the peer may take to answer while operations that we invoked are outstanding, default 5 min.</summary>
    public TimeSpan ResponseTimeout { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>How long one write may wait for a peer that does not read, default 60 s.</summary>
    public TimeSpan WriteTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Checks the ranges.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A limit is outside its range; the message names it.</exception>
    internal AssociationOptions Checked()
    {
        Check(MaxPduBytes, 4096, 1 << 20, nameof(MaxPduBytes));
        Check(MaxSendPduBytes, 4096, 1 << 20, nameof(MaxSendPduBytes));
        Check(SendBufferBytes, 4096, 1 << 24, nameof(SendBufferBytes));
        Check(MaxAssociateBytes, 1024, 1 << 24, nameof(MaxAssociateBytes));
        Check(MaxPresentationContexts, 1, 128, nameof(MaxPresentationContexts));
        Check(MaxCommandSetBytes, 512, 1 << 20, nameof(MaxCommandSetBytes));
        Check(MaxDataSetBytes, 0, long.MaxValue, nameof(MaxDataSetBytes));
        Check(MaxOperations, 1, 1024, nameof(MaxOperations));
        foreach (var (limit, name) in new[]
        {
            (Artim, nameof(Artim)), (IdleTimeout, nameof(IdleTimeout)), (PduTimeout, nameof(PduTimeout)),
            (ResponseTimeout, nameof(ResponseTimeout)), (WriteTimeout, nameof(WriteTimeout)),
        })
        {
            Check(limit.TotalSeconds, 0.001, 86400, name);
        }

        return this;
    }

    private static void Check(double value, double least, double most, string name)
    {
        if (!(value >= least && value <= most))
        {
            throw new ArgumentOutOfRangeException(name, value, $"{name} is {value}; it may be {least} to {most}.");
        }
    }
}
