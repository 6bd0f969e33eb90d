-- Writes Nexmark's events to Parquet files, for source_parquet.sql to read.
-- `rainstorm nexmark --write` puts source.sql before this and sets the variables:
--   ${OUTPUT}  the URL of the directory to write to
CREATE TABLE dump (
  event_type INT,
  person ROW<
    id BIGINT,
    name VARCHAR,
    emailAddress VARCHAR,
    creditCard VARCHAR,
    city VARCHAR,
    state VARCHAR,
    dateTime TIMESTAMP(3),
    extra VARCHAR>,
  auction ROW<
    id BIGINT,
    itemName VARCHAR,
    description VARCHAR,
    initialBid BIGINT,
    reserve BIGINT,
    dateTime TIMESTAMP(3),
    expires TIMESTAMP(3),
    seller BIGINT,
    category BIGINT,
    extra VARCHAR>,
  bid ROW<
    auction BIGINT,
    bidder BIGINT,
    price BIGINT,
    channel VARCHAR,
    url VARCHAR,
    dateTime TIMESTAMP(3),
    extra VARCHAR>
) WITH (
  'connector' = 'filesystem',
  'path' = '${OUTPUT}',
  'format' = 'parquet'
);

INSERT INTO dump
SELECT event_type, person, auction, bid
FROM nexmark;
