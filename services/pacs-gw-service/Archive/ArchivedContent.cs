using Yizhan.Contracts;

namespace Yizhan.PacsGw.Archive;

/// <summary>Whether content that the log knows is still in the archive: the log remembers what it accepted, also after it was deleted.</summary>
internal sealed class ArchivedContent(ArchiveDatabase archive, GatewayDatabase database, ArchiveProgress progress)
{
    /// <summary>True when the archive has an instance with this content, or keeps it for a person to decide. Waits for the index where it has not.</summary>
    public async ValueTask<bool> ContainsAsync(InstanceStored stored, CancellationToken cancellationToken)
    {
        if (IsHere(stored))
        {
            return true;
        }

        await progress.ReachedNowAsync(cancellationToken);
        return IsHere(stored);
    }

    private bool IsHere(InstanceStored stored)
    {
        const string Same = "WHERE sha256 = $1 AND transfer_syntax = $2 LIMIT 1";
        using var reader = archive.OpenReader();
        return reader.Command($"SELECT 1 FROM instance {Same}", stored.Sha256, stored.TransferSyntaxUid).Single() is not null
            || database.Write(own => own.Command($"SELECT 1 FROM parked {Same}", stored.Sha256, stored.TransferSyntaxUid).Single()) is not null;
    }
}
