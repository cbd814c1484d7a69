using System.Security.Cryptography;
using System.Text;
using Microsoft.Data.Sqlite;
using Yizhan.Storage;

namespace Yizhan.Audit.Sealing;

/// <summary>
/// One key for each subject (a patient, a study): what is sealed under it can be read as long as the key exists. Backed up apart from
/// the log, because whoever has both can read everything, and because a key that was destroyed must not come back with the log.
/// </summary>
/// <remarks>The store knows subjects only by a keyed hash. Deleted rows are overwritten (<c>secure_delete</c>). For any thread.</remarks>
internal sealed class SubjectKeys : IDisposable
{
    /// <summary>Bytes of a key, AES-256.</summary>
    public const int KeyBytes = 32;

    /// <summary>
    /// No secret: what orders an erasure is sealed with it, so that it can be read, and obeyed, with a store from before the order.
    /// </summary>
    public static readonly SubjectKey Known = new(Guid.Empty, new byte[KeyBytes]);

    private const int MaxCached = 200_000;
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const string Schema = """
        CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
        CREATE TABLE keys (id BLOB PRIMARY KEY, subject BLOB NOT NULL UNIQUE, key BLOB NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE erased (id BLOB PRIMARY KEY, erased_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE holds (subject TEXT PRIMARY KEY, reason TEXT NOT NULL, since_ms INTEGER NOT NULL) STRICT;
        CREATE TABLE applied (entries INTEGER NOT NULL) STRICT;
        INSERT INTO applied (entries) VALUES (0)
        """;

    private readonly Lock _gate = new();
    private readonly SqliteConnection _connection;
    private readonly Dictionary<string, SubjectKey> _bySubject = [];
    private readonly Dictionary<Guid, byte[]> _byId = [];
    private readonly List<(SubjectKey Key, byte[] Subject)> _pending = [];
    private readonly byte[] _subjectSecret;

    private SubjectKeys(SqliteConnection connection)
    {
        _connection = connection;
        _subjectSecret = Secret("subject");
        IndexSecret = Secret("index");
        using var applied = Command("SELECT entries FROM applied");
        ErasuresApplied = (long)applied.ExecuteScalar()!;
    }

    /// <summary>Erasures that the first so many entries of the log order are in effect. A restored store has an older number.</summary>
    public long ErasuresApplied { get; private set; }

    /// <summary>What the terms of the search index are hashed with.</summary>
    public byte[] IndexSecret { get; }

    /// <summary>Opens the store of a folder, or starts one; only its owner may read it.</summary>
    public static SubjectKeys Open(string folder)
    {
        if (!OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(folder, OwnerOnly);
        }

        var connection = SqliteFile.OpenWriter(Path.Combine(folder, "subjects.db"), Schema);
        try
        {
            using var secure = new SqliteCommand("PRAGMA secure_delete = ON", connection);
            secure.ExecuteScalar();
            return new SubjectKeys(connection);
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    /// <summary>The key of a subject. A new one is durable after <see cref="Commit"/>, which must come before anything sealed under it is kept.</summary>
    public SubjectKey For(string subject)
    {
        lock (_gate)
        {
            if (_bySubject.TryGetValue(subject, out var key))
            {
                return key;
            }

            var hash = HashOf(subject);
            key = FindDurable_NeedsLock(hash);
            if (key.Bytes is null)
            {
                key = new SubjectKey(new Guid(RandomNumberGenerator.GetBytes(16)), RandomNumberGenerator.GetBytes(KeyBytes));
                _pending.Add((key, hash));
            }

            // What is not durable yet is found nowhere else.
            if (_bySubject.Count >= MaxCached && _pending.Count == 0)
            {
                _bySubject.Clear();
            }

            return _bySubject[subject] = key;
        }
    }

    /// <summary>Makes the new keys durable.</summary>
    public void Commit()
    {
        lock (_gate)
        {
            if (_pending.Count == 0)
            {
                return;
            }

            using var transaction = _connection.BeginTransaction();
            using var insert = Command("INSERT INTO keys (id, subject, key) VALUES ($id, $subject, $key)");
            var (id, subject, key) = (insert.Parameters.Add("$id", SqliteType.Blob), insert.Parameters.Add("$subject", SqliteType.Blob), insert.Parameters.Add("$key", SqliteType.Blob));
            foreach (var pending in _pending)
            {
                (id.Value, subject.Value, key.Value) = (pending.Key.Id.ToByteArray(), pending.Subject, pending.Key.Bytes);
                insert.ExecuteNonQuery();
            }

            transaction.Commit();
            _pending.Clear();
        }
    }

    /// <summary>The key with this id; null when it was destroyed, or is not here.</summary>
    public byte[]? Find(Guid id)
    {
        if (id == Known.Id)
        {
            return Known.Bytes;
        }

        lock (_gate)
        {
            if (_byId.TryGetValue(id, out var key))
            {
                return key;
            }

            using var command = Command("SELECT key FROM keys WHERE id = $id", ("$id", id.ToByteArray()));
            key = command.ExecuteScalar() as byte[];
            if (key is not null)
            {
                if (_byId.Count >= MaxCached)
                {
                    _byId.Clear();
                }

                _byId[id] = key;
            }

            return key;
        }
    }

    /// <summary>The id of a subject's key; null when the subject has none.</summary>
    public Guid? IdOf(string subject)
    {
        lock (_gate)
        {
            var key = FindDurable_NeedsLock(HashOf(subject));
            return key.Bytes is null ? null : key.Id;
        }
    }

    /// <summary>Destroys a key; returns false when it is gone already. It is overwritten in the database and in its log on return.</summary>
    public bool Destroy(Guid id, long nowMs)
    {
        lock (_gate)
        {
            foreach (var subject in _bySubject.Where(s => s.Value.Id == id).Select(s => s.Key).ToList())
            {
                _bySubject.Remove(subject);
            }

            _byId.Remove(id);
            int deleted;
            using (var transaction = _connection.BeginTransaction())
            {
                using var delete = Command("DELETE FROM keys WHERE id = $id", ("$id", id.ToByteArray()));
                deleted = delete.ExecuteNonQuery();
                using var remember = Command(
                    "INSERT INTO erased (id, erased_ms) VALUES ($id, $now) ON CONFLICT DO NOTHING", ("$id", id.ToByteArray()), ("$now", nowMs));
                remember.ExecuteNonQuery();
                transaction.Commit();
            }

            // The write-ahead log still has the page with the key: without this it would stay there until it is reused.
            using var checkpoint = Command("PRAGMA wal_checkpoint(TRUNCATE)");
            checkpoint.ExecuteScalar();
            return deleted > 0;
        }
    }

    /// <summary>True when the key was destroyed here.</summary>
    public bool WasDestroyed(Guid id)
    {
        lock (_gate)
        {
            using var command = Command("SELECT count(*) FROM erased WHERE id = $id", ("$id", id.ToByteArray()));
            return (long)command.ExecuteScalar()! > 0;
        }
    }

    /// <summary>How many keys there are, and how many were destroyed.</summary>
    public (long Keys, long Destroyed) Count()
    {
        lock (_gate)
        {
            using var keys = Command("SELECT count(*) FROM keys");
            using var erased = Command("SELECT count(*) FROM erased");
            return ((long)keys.ExecuteScalar()!, (long)erased.ExecuteScalar()!);
        }
    }

    /// <summary>Remembers <see cref="ErasuresApplied"/>.</summary>
    public void MarkErasuresApplied(long entries)
    {
        lock (_gate)
        {
            using var command = Command("UPDATE applied SET entries = $entries", ("$entries", entries));
            command.ExecuteNonQuery();
            ErasuresApplied = entries;
        }
    }

    /// <summary>Legal holds: what names such a subject neither expires nor is erased. <c>*</c> holds everything.</summary>
    public IReadOnlyList<LegalHold> Holds()
    {
        lock (_gate)
        {
            using var command = Command("SELECT subject, reason, since_ms FROM holds ORDER BY subject");
            using var reader = command.ExecuteReader();
            var holds = new List<LegalHold>();
            while (reader.Read())
            {
                holds.Add(new LegalHold(reader.GetString(0), reader.GetString(1), reader.GetInt64(2)));
            }

            return holds;
        }
    }

    /// <summary>Sets a hold, or changes its reason.</summary>
    public void Hold(LegalHold hold)
    {
        lock (_gate)
        {
            using var command = Command(
                "INSERT INTO holds (subject, reason, since_ms) VALUES ($subject, $reason, $since) ON CONFLICT (subject) DO UPDATE SET reason = excluded.reason",
                ("$subject", hold.Subject), ("$reason", hold.Reason), ("$since", hold.SinceMs));
            command.ExecuteNonQuery();
        }
    }

    /// <summary>Ends a hold; false when there was none.</summary>
    public bool Release(string subject)
    {
        lock (_gate)
        {
            using var command = Command("DELETE FROM holds WHERE subject = $subject", ("$subject", subject));
            return command.ExecuteNonQuery() > 0;
        }
    }

    public void Dispose() => _connection.Dispose();

    private SubjectKey FindDurable_NeedsLock(byte[] subject)
    {
        using var command = Command("SELECT id, key FROM keys WHERE subject = $subject", ("$subject", subject));
        using var reader = command.ExecuteReader();
        return reader.Read() ? new SubjectKey(new Guid((byte[])reader[0]), (byte[])reader[1]) : default;
    }

    private byte[] HashOf(string subject) => HMACSHA256.HashData(_subjectSecret, Encoding.UTF8.GetBytes(subject));

    private byte[] Secret(string name)
    {
        using var insert = Command("INSERT INTO secrets (name, value) VALUES ($name, $value) ON CONFLICT DO NOTHING", ("$name", name), ("$value", RandomNumberGenerator.GetBytes(KeyBytes)));
        insert.ExecuteNonQuery();
        using var select = Command("SELECT value FROM secrets WHERE name = $name", ("$name", name));
        return (byte[])select.ExecuteScalar()!;
    }

    private SqliteCommand Command(string sql, params ReadOnlySpan<(string Name, object Value)> parameters)
    {
        var command = _connection.CreateCommand();
        command.CommandText = sql;
        foreach (var (name, value) in parameters)
        {
            command.Parameters.AddWithValue(name, value);
        }

        return command;
    }
}

/// <summary>A key and its random id, which is beside what is sealed under it.</summary>
internal readonly record struct SubjectKey(Guid Id, byte[] Bytes);

/// <summary>A legal hold.</summary>
/// <param name="Subject"><c>patient/…</c>, <c>study/…</c> or <c>*</c>.</param>
/// <param name="Reason">Why, for people.</param>
/// <param name="SinceMs">Since when, Unix milliseconds.</param>
internal sealed record LegalHold(string Subject, string Reason, long SinceMs);
