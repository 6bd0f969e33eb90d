-- Nexmark query 10: every bid, into files by day and minute.
-- It follows source.sql or source_parquet.sql.
-- Variables:
--   ${OUTPUT}  the URL of the directory to write to
CREATE TABLE nexmark_q10 (
  auction BIGINT,
  bidder BIGINT,
  price BIGINT,
  dateTime TIMESTAMP(3),
  extra VARCHAR,
  dt VARCHAR,
  hm VARCHAR
) PARTITIONED BY (dt, hm) WITH (
  'connector' = 'filesystem',
  'path' = '${OUTPUT}',
  'format' = 'csv'
);

INSERT INTO nexmark_q10
SELECT
  auction,
  bidder,
  price,
  dateTime,
  extra,
  DATE_FORMAT(dateTime, 'yyyy-MM-dd'),
  DATE_FORMAT(dateTime, 'HH:mm')
FROM bid;
