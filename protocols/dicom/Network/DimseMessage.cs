namespace Yizhan.Dicom.Network;

/// <summary>A received DIMSE message: its command set is complete, its data set is still coming.</summary>
public sealed class DimseMessage
{
    internal DimseMessage(AcceptedContext context, CommandSet command, DataSetReader? dataSet) =>
        (PresentationContext, Command, DataSet) = (context, command, dataSet);

    /// <summary>The presentation context; the data set is in its transfer syntax.</summary>
    public AcceptedContext PresentationContext { get; }

    /// <summary>The command set.</summary>
    public CommandSet Command { get; }

    /// <summary>The data set as it arrives; null when the message has none.</summary>
    public DataSetReader? DataSet { get; }
}

/// <summary>
/// The data set of one received message, piece by piece, straight from the pipe: nothing is collected, and a peer is slowed down
/// when nobody reads. What is left unread is thrown away by the association's next receive.
/// </summary>
public sealed class DataSetReader
{
    private readonly Association _association;
    private readonly TaskCompletionSource _completed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    internal DataSetReader(Association association) => _association = association;

    /// <summary>Bytes handed out so far.</summary>
    public long BytesRead { get; internal set; }

    /// <summary>The last byte was handed out and the end was seen.</summary>
    internal Task Completed => _completed.Task;

    internal bool IsComplete => _completed.Task.IsCompleted;

    internal bool IsAbandoned { get; set; }

    internal void Complete() => _completed.TrySetResult();

    /// <summary>
    /// The next piece, of any length, not aligned to anything; empty when the data set is complete. The memory is the pipe's own:
    /// it is valid until the next call on this reader or the next receive.
    /// </summary>
    /// <exception cref="AssociationException">The association ended: the data set is not complete.</exception>
    /// <exception cref="OperationCanceledException">Nothing was lost; the call may be made again.</exception>
    /// <exception cref="InvalidOperationException">A later receive has thrown the rest away.</exception>
    public ValueTask<ReadOnlyMemory<byte>> ReadAsync(CancellationToken cancellationToken) => _association.ReadPieceAsync(this, cancellationToken);

    /// <summary>Copies the rest to a stream.</summary>
    /// <exception cref="AssociationException">The association ended: what was copied is not complete.</exception>
    public async ValueTask CopyToAsync(Stream target, CancellationToken cancellationToken)
    {
        while (await ReadAsync(cancellationToken) is { IsEmpty: false } piece)
        {
            await target.WriteAsync(piece, cancellationToken);
        }
    }
}
