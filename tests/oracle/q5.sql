-- Hop windows of 10 s every 2 s: a bid lies in five of them.
WITH counts AS (
  SELECT auction, date_bin(INTERVAL '2 seconds', "dateTime") - shift.s AS starttime, count(*) AS num
  FROM bid CROSS JOIN (
    VALUES (INTERVAL '0 seconds'), (INTERVAL '2 seconds'), (INTERVAL '4 seconds'),
           (INTERVAL '6 seconds'), (INTERVAL '8 seconds')) AS shift(s)
  GROUP BY 1, 2
), most AS (
  SELECT starttime, max(num) AS maxn FROM counts GROUP BY starttime
)
SELECT counts.auction, counts.num
FROM counts JOIN most ON counts.starttime = most.starttime AND counts.num >= most.maxn
