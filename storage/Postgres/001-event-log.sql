-- The event log of one centre: what log.db is in the store sqlite (storage/README.md). Run by the schema's owner; the centre's own role only
-- reads and writes rows.
CREATE TABLE log (
    one smallint PRIMARY KEY CHECK (one = 1),
    site text NOT NULL,
    epoch uuid NOT NULL,
    -- The data folder that holds the blobs and keys of this log.
    folder uuid NOT NULL,
    position bigint NOT NULL,
    -- Number of the last group. A writer whose connection broke in the middle of COMMIT reads here what became of it.
    groups bigint NOT NULL,
    -- Raised by each writer that takes over; a transaction of an earlier writer finds another number and ends.
    fence bigint NOT NULL,
    owner text NOT NULL,
    entry_bytes bigint NOT NULL
);
CREATE TABLE lane (
    lane smallint PRIMARY KEY,
    sequence bigint NOT NULL,
    bytes bigint NOT NULL,
    delivered bigint NOT NULL,
    delivered_bytes bigint NOT NULL,
    released bigint NOT NULL
);
CREATE TABLE origin (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site text NOT NULL,
    epoch uuid NOT NULL,
    UNIQUE (site, epoch)
);
CREATE TABLE mark (
    origin bigint NOT NULL REFERENCES origin,
    lane smallint NOT NULL,
    sequence bigint NOT NULL,
    PRIMARY KEY (origin, lane)
) WITH (fillfactor = 50);
-- No foreign key to origin: it would be looked up for each row of a COPY, and the one writer takes the id from that table.
CREATE TABLE entry (
    position bigint PRIMARY KEY,
    origin bigint NOT NULL,
    lane smallint NOT NULL,
    sequence bigint NOT NULL,
    own boolean NOT NULL,
    fact uuid NOT NULL,
    lane_bytes bigint NOT NULL,
    blob_bytes bigint NOT NULL,
    time_ms bigint NOT NULL,
    sealed_by bigint,
    data_bytes integer NOT NULL,
    crc bigint NOT NULL,
    id text NOT NULL,
    type text NOT NULL,
    key text NOT NULL,
    trace text,
    blobs bytea NOT NULL,
    data bytea NOT NULL
);
-- Sealed data does not compress.
ALTER TABLE entry ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX entry_fact ON entry (fact);
CREATE UNIQUE INDEX entry_own ON entry (lane, sequence) WHERE own;
CREATE TABLE blob (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hash bytea NOT NULL UNIQUE,
    length bigint NOT NULL,
    complete boolean NOT NULL,
    names bigint NOT NULL,
    touched_ms bigint NOT NULL
);
CREATE INDEX blob_orphan ON blob (touched_ms) WHERE names = 0;
CREATE TABLE extent (
    blob bigint NOT NULL REFERENCES blob,
    at bigint NOT NULL,
    segment bigint NOT NULL,
    "offset" integer NOT NULL,
    length integer NOT NULL,
    PRIMARY KEY (blob, at, segment, "offset")
);
CREATE TABLE pin (
    blob bigint NOT NULL REFERENCES blob,
    holder text NOT NULL,
    PRIMARY KEY (blob, holder)
);
-- Segment files that an object store has (storage/ObjectStore).
CREATE TABLE away (
    segment bigint PRIMARY KEY,
    epoch bigint NOT NULL,
    key bigint NOT NULL,
    header_bytes integer NOT NULL,
    size integer NOT NULL,
    bytes integer NOT NULL,
    sha256 bytea NOT NULL
);
