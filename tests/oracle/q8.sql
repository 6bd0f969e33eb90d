WITH p AS (
  SELECT id, name, date_bin(INTERVAL '10 seconds', "dateTime") AS starttime FROM person GROUP BY 1, 2, 3
), a AS (
  SELECT seller, date_bin(INTERVAL '10 seconds', "dateTime") AS starttime FROM auction GROUP BY 1, 2
)
SELECT p.id, p.name, p.starttime FROM p JOIN a ON p.id = a.seller AND p.starttime = a.starttime
