namespace Yizhan.Inventory.Ledger;

/// <summary>The tables of <c>inventory/ledger.db</c>.</summary>
internal static class LedgerSchema
{
    /// <summary>Never change one that shipped.</summary>
    public static IReadOnlyList<string> Migrations { get; } =
    [
        """
        -- How far the event log was read, by its epoch; in the transaction of what was made of it.
        CREATE TABLE cursor (
            epoch    TEXT    PRIMARY KEY,
            position INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE item (
            site          TEXT    NOT NULL,
            code          TEXT    NOT NULL,
            name          TEXT    NOT NULL,
            category      TEXT    NOT NULL,
            unit          TEXT    NOT NULL,
            units         TEXT    NOT NULL,
            reorder_point INTEGER,
            lead_days     INTEGER NOT NULL,
            codes         TEXT    NOT NULL,
            PRIMARY KEY (site, code)
        ) STRICT, WITHOUT ROWID;

        -- One lot at one place. Balance: derived, in thousandths of the base unit; the check is the last line against a negative one.
        CREATE TABLE stock (
            pk             INTEGER PRIMARY KEY,
            site           TEXT    NOT NULL,
            item           TEXT    NOT NULL,
            lot            TEXT    NOT NULL,
            location       TEXT    NOT NULL,
            expiry         TEXT    NOT NULL,
            balance        INTEGER NOT NULL CHECK (balance >= 0),
            last_effective INTEGER NOT NULL,
            UNIQUE (site, item, lot, location)
        ) STRICT;
        CREATE INDEX stock_by_lot    ON stock (lot, item);
        CREATE INDEX stock_by_expiry ON stock (expiry) WHERE balance > 0 AND expiry <> '';

        -- Rows are added in the order of pk, which is the order of knowing (transaction time). Its n-th movement has seq = 4096 * pk + n.
        CREATE TABLE batch (
            pk       INTEGER PRIMARY KEY,
            site     TEXT    NOT NULL,
            id       TEXT    NOT NULL,
            digest   BLOB    NOT NULL,
            source   TEXT    NOT NULL,
            actor    TEXT    NOT NULL,
            recorded INTEGER NOT NULL,
            UNIQUE (site, id)
        ) STRICT;

        -- Append only. Quantity: the change, for a count what was there. A stock's rows lie side by side in the order in which they took effect.
        CREATE TABLE movement (
            stock     INTEGER NOT NULL,
            effective INTEGER NOT NULL,
            seq       INTEGER NOT NULL,
            kind      INTEGER NOT NULL,
            quantity  INTEGER NOT NULL,
            reference TEXT    NOT NULL,
            PRIMARY KEY (stock, effective, seq)
        ) STRICT, WITHOUT ROWID;

        -- Who got what, for recalls.
        CREATE TABLE used (
            seq       INTEGER PRIMARY KEY,
            stock     INTEGER NOT NULL,
            effective INTEGER NOT NULL,
            quantity  INTEGER NOT NULL,
            patient   TEXT    NOT NULL,
            study     TEXT    NOT NULL
        ) STRICT;
        CREATE INDEX used_by_stock ON used (stock);

        CREATE TABLE recall (
            site      TEXT    NOT NULL,
            item      TEXT    NOT NULL,
            lot       TEXT    NOT NULL,
            effective INTEGER NOT NULL,
            reference TEXT    NOT NULL,
            PRIMARY KEY (site, item, lot)
        ) STRICT, WITHOUT ROWID;

        -- What another site recorded and this ledger could not take.
        CREATE TABLE parked (
            site      TEXT    NOT NULL,
            batch     TEXT    NOT NULL,
            problem   TEXT    NOT NULL,
            event     BLOB    NOT NULL,
            parked_ms INTEGER NOT NULL,
            PRIMARY KEY (site, batch)
        ) STRICT, WITHOUT ROWID;
        """,
        """
        -- Report: the newest, AssetReported as JSON.
        CREATE TABLE asset (
            site       TEXT    NOT NULL,
            id         TEXT    NOT NULL,
            report     TEXT    NOT NULL,
            first_seen INTEGER NOT NULL,
            last_seen  INTEGER NOT NULL,
            PRIMARY KEY (site, id)
        ) STRICT, WITHOUT ROWID;

        CREATE TABLE asset_key (
            site  TEXT NOT NULL,
            key   TEXT NOT NULL,
            asset TEXT NOT NULL,
            PRIMARY KEY (site, key, asset)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX asset_key_by_asset ON asset_key (site, asset);

        -- Two assets that may be one. Decision: same, different, or empty while nobody has decided.
        CREATE TABLE asset_conflict (
            site     TEXT    NOT NULL,
            first    TEXT    NOT NULL,
            second   TEXT    NOT NULL,
            shared   TEXT    NOT NULL,
            reason   TEXT    NOT NULL,
            since    INTEGER NOT NULL,
            decision TEXT    NOT NULL,
            PRIMARY KEY (site, first, second)
        ) STRICT, WITHOUT ROWID;

        -- What was decided to be another's: its id is that one's from then on.
        CREATE TABLE asset_merged (
            site    TEXT NOT NULL,
            id      TEXT NOT NULL,
            into_id TEXT NOT NULL,
            PRIMARY KEY (site, id)
        ) STRICT, WITHOUT ROWID;

        -- The newest run of each source, SourceCollected as JSON.
        CREATE TABLE source (
            site         TEXT    NOT NULL,
            name         TEXT    NOT NULL,
            last         TEXT    NOT NULL,
            last_success INTEGER NOT NULL,
            PRIMARY KEY (site, name)
        ) STRICT, WITHOUT ROWID;
        """,
        """
        -- What a site had recorded by a time.
        CREATE INDEX batch_by_time ON batch (site, recorded);
        """,
        """
        -- What a stock's movements up to one of them, in the order of taking effect, came to: a balance of the past is folded from there on. Derived, and dropped when something
        -- is recorded before it; so no movement before it was recorded after it, and it also counts for what was known at any time since.
        CREATE TABLE checkpoint (
            stock     INTEGER NOT NULL,
            effective INTEGER NOT NULL,
            seq       INTEGER NOT NULL,
            balance   INTEGER NOT NULL,
            PRIMARY KEY (stock, effective, seq)
        ) STRICT, WITHOUT ROWID;

        -- Movements since the last one.
        ALTER TABLE stock ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
        """,
    ];
}
