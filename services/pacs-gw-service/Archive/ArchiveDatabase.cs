using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Options;
using Yizhan.Platform;

namespace Yizhan.PacsGw.Archive;

/// <summary>The archive's SQLite file: schema and connections. One writer (the indexer), any number of readers.</summary>
internal sealed class ArchiveDatabase
{
    /// <summary>Each step brings the schema from its index to the next version (<c>PRAGMA user_version</c>). Never change one that shipped.</summary>
    private static readonly string[] Migrations =
    [
        """
        CREATE TABLE cursor (
            id       INTEGER PRIMARY KEY CHECK (id = 1),
            epoch    TEXT    NOT NULL,
            position INTEGER NOT NULL
        ) STRICT;

        CREATE TABLE patient (
            pk         INTEGER PRIMARY KEY,
            patient_id TEXT    NOT NULL,
            issuer     TEXT    NOT NULL,
            name       TEXT    NOT NULL,
            birth_date TEXT    NOT NULL,
            sex        TEXT    NOT NULL,
            conflicts  INTEGER NOT NULL DEFAULT 0,
            UNIQUE (patient_id, issuer)
        ) STRICT;

        CREATE TABLE study (
            pk               INTEGER PRIMARY KEY,
            patient          INTEGER NOT NULL REFERENCES patient,
            uid              TEXT    NOT NULL UNIQUE,
            patient_id       TEXT    NOT NULL,
            patient_name     TEXT    NOT NULL,
            birth_date       TEXT    NOT NULL,
            sex              TEXT    NOT NULL,
            study_date       TEXT    NOT NULL,
            study_time       TEXT    NOT NULL,
            accession_number TEXT    NOT NULL,
            study_id         TEXT    NOT NULL,
            description      TEXT    NOT NULL,
            site             TEXT    NOT NULL,
            first_stored_ms  INTEGER NOT NULL,
            last_indexed_ms  INTEGER NOT NULL,
            change           INTEGER NOT NULL,
            modalities       TEXT    NOT NULL DEFAULT '',
            series           INTEGER NOT NULL DEFAULT 0,
            instances        INTEGER NOT NULL DEFAULT 0,
            bytes            INTEGER NOT NULL DEFAULT 0,
            conflicts        INTEGER NOT NULL DEFAULT 0,
            json             TEXT    NOT NULL
        ) STRICT;
        CREATE INDEX study_by_patient   ON study (patient_id);
        CREATE INDEX study_by_date      ON study (study_date, study_time);
        CREATE INDEX study_by_accession ON study (accession_number);
        CREATE INDEX study_by_id        ON study (study_id);
        CREATE INDEX study_by_birth     ON study (birth_date);
        CREATE INDEX study_by_change    ON study (change);

        -- One row per component group of a name, folded for comparison: a search for either script finds the study.
        CREATE TABLE person_name (
            study INTEGER NOT NULL REFERENCES study,
            tag   INTEGER NOT NULL,
            folded TEXT   NOT NULL,
            PRIMARY KEY (study, tag, folded)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX person_name_by_folded ON person_name (tag, folded);

        CREATE TABLE series (
            pk          INTEGER PRIMARY KEY,
            study       INTEGER NOT NULL REFERENCES study,
            uid         TEXT    NOT NULL,
            modality    TEXT    NOT NULL,
            number      INTEGER,
            instances   INTEGER NOT NULL DEFAULT 0,
            json        TEXT    NOT NULL,
            UNIQUE (study, uid)
        ) STRICT;
        CREATE INDEX series_by_uid      ON series (uid);
        CREATE INDEX series_by_modality ON series (modality);

        CREATE TABLE instance (
            pk              INTEGER PRIMARY KEY,
            series          INTEGER NOT NULL REFERENCES series,
            sop_uid         TEXT    NOT NULL,
            variant         INTEGER NOT NULL,
            sop_class       TEXT    NOT NULL,
            number          INTEGER,
            transfer_syntax TEXT    NOT NULL,
            sha256          TEXT    NOT NULL,
            length          INTEGER NOT NULL,
            site            TEXT    NOT NULL,
            calling_ae      TEXT    NOT NULL,
            stored_ms       INTEGER NOT NULL,
            position        INTEGER NOT NULL,
            UNIQUE (series, sop_uid, variant)
        ) STRICT;
        CREATE INDEX instance_by_sop   ON instance (sop_uid);
        CREATE INDEX instance_by_class ON instance (sop_class);
        CREATE INDEX instance_by_hash  ON instance (sha256);

        -- Apart from the instance, so that looking for instances does not drag their headers through the cache.
        CREATE TABLE metadata (
            instance INTEGER PRIMARY KEY REFERENCES instance,
            json     TEXT NOT NULL
        ) STRICT;
        """,

        // Blobs are pinned as they are indexed. What was indexed before that is read once more, and recognised.
        """
        DELETE FROM cursor;
        """,
        """
        -- What a fuzzy search may begin with: see PersonName.SearchWords.
        CREATE TABLE person_word (
            study INTEGER NOT NULL REFERENCES study,
            tag   INTEGER NOT NULL,
            word  TEXT    NOT NULL,
            PRIMARY KEY (tag, word, study)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX person_word_of_study ON person_word (study);
        CREATE INDEX study_of_patient     ON study (patient);

        -- Storage commitment that peers asked for and were not told about yet.
        CREATE TABLE commitment (
            peer            TEXT    NOT NULL,
            transaction_uid TEXT    NOT NULL,
            position        INTEGER NOT NULL,
            event           TEXT    NOT NULL,
            PRIMARY KEY (peer, transaction_uid)
        ) STRICT;

        -- What peers answered to our own requests.
        CREATE TABLE commitment_received (
            transaction_uid TEXT PRIMARY KEY,
            event           TEXT NOT NULL
        ) STRICT;

        -- The newest state of each performed procedure step.
        CREATE TABLE procedure_step (
            sop_uid TEXT PRIMARY KEY,
            status  TEXT NOT NULL,
            event   TEXT NOT NULL
        ) STRICT;

        -- What is to be done, as data sets of the modality worklist. Open: 1 listed, 0 cancelled, -1 done.
        CREATE TABLE worklist (
            id        TEXT    PRIMARY KEY,
            open      INTEGER NOT NULL,
            start     TEXT    NOT NULL,
            study     TEXT    NOT NULL,
            accession TEXT    NOT NULL,
            step      TEXT    NOT NULL,
            modality  TEXT    NOT NULL,
            json      TEXT    NOT NULL
        ) STRICT;
        CREATE INDEX worklist_open         ON worklist (start, id) WHERE open = 1;
        CREATE INDEX worklist_by_study     ON worklist (study);
        CREATE INDEX worklist_by_accession ON worklist (accession);
        """,
    ];

    private readonly string _writer;
    private readonly string _reader;

    /// <summary>Opens or creates <c>pacs-gw/archive.db</c> in the node's data folder and brings it to this version's schema.</summary>
    /// <exception cref="SqliteException">The file cannot be opened or was damaged.</exception>
    public ArchiveDatabase(IOptions<NodeOptions> node)
    {
        var path = node.Value.PathOf("pacs-gw", "archive.db");
        _writer = new SqliteConnectionStringBuilder { DataSource = path, Pooling = false }.ToString();
        _reader = new SqliteConnectionStringBuilder { DataSource = path, Mode = SqliteOpenMode.ReadOnly }.ToString();
        using var db = OpenWriter();
        Migrate(db);
    }

    /// <summary>The connection for the one writer.</summary>
    public SqliteConnection OpenWriter()
    {
        var db = new SqliteConnection(_writer);
        db.Open();

        // NORMAL is enough here and only here: after a power cut the file is consistent and may be some transactions behind,
        // with the cursor equally far behind, so the same entries are read from the event log again.
        // UIDs and hashes are random: each instance touches pages all over three indexes. 16 MiB of them are kept, and up to 32 MiB of the WAL, so that a page which is
        // changed often is copied into the file once and not each thousand pages.
        db.Run("""
            PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 10000; PRAGMA foreign_keys = ON;
            PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 8000;
            """);
        return db;
    }

    /// <summary>A pooled connection that cannot write.</summary>
    public SqliteConnection OpenReader()
    {
        var db = new SqliteConnection(_reader);
        db.Open();
        return db;
    }

    /// <summary>A reader with the functions that searches need. They are made for each opening, and the pool takes them away again.</summary>
    public SqliteConnection OpenSearcher()
    {
        var db = OpenReader();
        db.CreateFunction("name_fold", (string? name) => name is null ? "" : PersonName.Fold(name), isDeterministic: true);
        db.CreateFunction(
            "name_words", (string? name, string search) => name is not null && PersonName.MatchesFuzzily(name, search), isDeterministic: true);
        db.CreateFunction("date_time", (string? value) => value is null ? "" : DicomDateTime.Normalize(value), isDeterministic: true);
        return db;
    }

    private static void Migrate(SqliteConnection db)
    {
        var version = Convert.ToInt32(db.Scalar("PRAGMA user_version"), System.Globalization.CultureInfo.InvariantCulture);
        if (version > Migrations.Length)
        {
            throw new InvalidOperationException(
                $"{db.DataSource} has schema {version}, made by a newer version; this one knows up to {Migrations.Length}.");
        }

        for (; version < Migrations.Length; version++)
        {
            using var transaction = db.BeginTransaction();
            db.Run(Migrations[version] + $"PRAGMA user_version = {version + 1};");
            if (version == 2)
            {
                // Names are folded in another way since, and have words.
                using var statements = new ArchiveStatements(db);
                new ArchiveWriter(statements, transaction, 0).IndexNamesAgain();
            }

            transaction.Commit();
        }
    }
}

/// <summary>Small steps on a connection.</summary>
internal static class SqliteConnectionSteps
{
    public static void Run(this SqliteConnection db, string sql) => db.Command(sql).Go();

    public static object? Scalar(this SqliteConnection db, string sql) => db.Command(sql).Single();
}
