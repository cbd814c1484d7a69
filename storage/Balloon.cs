namespace Yizhan.Storage;

/// <summary>
/// A file that only takes up space. On a file system that is full to the last byte a database cannot even delete: then the balloon is let go, deletions run,
/// and it is filled again once there is room.
/// </summary>
internal sealed class Balloon(IDisk disk, string folder, long bytes)
{
    private readonly string _path = Path.Combine(folder, "balloon");
    private bool _full;

    /// <summary>Gives the space back; false when it was given back already.</summary>
    public bool Burst()
    {
        if (!_full)
        {
            return false;
        }

        _full = false;
        disk.Delete(_path);
        return true;
    }

    /// <summary>Takes the space, if there is twice as much; otherwise a later call does.</summary>
    public void Fill()
    {
        if (_full || bytes == 0 || disk.FreeBytes(folder) < 2 * bytes)
        {
            return;
        }

        try
        {
            using var file = disk.Open(_path, create: true);
            file.Preallocate(bytes);
            _full = true;
        }
        catch (DiskFullException)
        {
            disk.Delete(_path);
        }
    }
}
