-- Departures of US flights, January to March 2001: loads a file into SDFS, aggregates it per
-- airport and week, and per state with the airports' table, and prints the worst of both.
--
--   rainstorm run sql-examples/flights.sql

CREATE TABLE flights_csv (
  departed_at TIMESTAMP(3),
  origin STRING,
  destination STRING,
  delay_minutes INT,
  distance_miles INT
) WITH (
  'connector' = 'filesystem',
  'path' = 'data/flights.csv',
  'format' = 'csv'
);

CREATE TABLE airports (
  iata STRING,
  name STRING,
  city STRING,
  state STRING,
  latitude DOUBLE,
  longitude DOUBLE
) WITH (
  'connector' = 'filesystem',
  'path' = 'data/airports.csv',
  'format' = 'csv',
  'csv.null-literal' = 'NA'
);

-- The same flights as a stream: its watermark says that none departs later than it is reported.
CREATE TABLE flights (
  departed_at TIMESTAMP(3),
  origin STRING,
  destination STRING,
  delay_minutes INT,
  distance_miles INT,
  WATERMARK FOR departed_at AS departed_at - INTERVAL '1' MINUTE
) WITH (
  'connector' = 'filesystem',
  'path' = 'sdfs:///flights',
  'format' = 'parquet'
);

INSERT OVERWRITE flights
SELECT departed_at, origin, destination, delay_minutes, distance_miles
FROM flights_csv;

-- Delays per airport and week.
CREATE TABLE delays_by_airport (
  airport STRING,
  week_start TIMESTAMP(3),
  flights BIGINT,
  average_delay DOUBLE,
  worst_delay INT
) WITH (
  'connector' = 'filesystem',
  'path' = 'sdfs:///delays_by_airport',
  'format' = 'csv'
);

INSERT OVERWRITE delays_by_airport
SELECT
  origin,
  window_start,
  COUNT(*),
  ROUND(AVG(delay_minutes), 1),
  MAX(delay_minutes)
FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(departed_at), INTERVAL '7' DAY))
GROUP BY origin, window_start, window_end;

-- Delays per state and week. Every flight looks up the airport that it departs from.
CREATE VIEW departures AS
SELECT f.departed_at, f.delay_minutes, f.distance_miles, a.state
FROM flights AS f
JOIN airports FOR SYSTEM_TIME AS OF PROCTIME() AS a ON f.origin = a.iata
WHERE a.state IS NOT NULL;

CREATE TABLE delays_by_state (
  state STRING,
  week_start TIMESTAMP(3),
  flights BIGINT,
  average_delay DOUBLE,
  miles BIGINT
) WITH (
  'connector' = 'filesystem',
  'path' = 'sdfs:///delays_by_state',
  'format' = 'csv'
);

INSERT OVERWRITE delays_by_state
SELECT
  state,
  window_start,
  COUNT(*),
  ROUND(AVG(delay_minutes), 1),
  SUM(distance_miles)
FROM TABLE(TUMBLE(TABLE departures, DESCRIPTOR(departed_at), INTERVAL '7' DAY))
GROUP BY state, window_start, window_end;

-- The airports and weeks with the longest average delays.
SELECT airport, week_start, flights, average_delay, worst_delay
FROM delays_by_airport
WHERE flights >= 20
ORDER BY average_delay DESC, airport, week_start
LIMIT 10;

-- The states that had the longest delays over all weeks.
SELECT
  state,
  SUM(flights) AS flights,
  ROUND(SUM(average_delay * flights) / SUM(flights), 1) AS average_delay,
  SUM(miles) AS miles
FROM delays_by_state
GROUP BY state
HAVING SUM(flights) >= 100
ORDER BY average_delay DESC, state
LIMIT 10;
