-- Hop windows of 10 s every 2 s: a bid lies in five of them, so slices of 2 s are counted once and
-- then added up.
WITH slices AS (
  SELECT auction, date_bin(INTERVAL '2 seconds', "dateTime") AS slice, count(*) AS num
  FROM bid GROUP BY 1, 2
), counts AS (
  SELECT auction, slice - shift.s AS starttime, sum(num) AS num
  FROM slices CROSS JOIN (
    VALUES (INTERVAL '0 seconds'), (INTERVAL '2 seconds'), (INTERVAL '4 seconds'),
           (INTERVAL '6 seconds'), (INTERVAL '8 seconds')) AS shift(s)
  GROUP BY 1, 2
), most AS (
  SELECT starttime, max(num) AS maxn FROM counts GROUP BY starttime
)
SELECT counts.auction, counts.num
FROM counts JOIN most ON counts.starttime = most.starttime AND counts.num >= most.maxn
