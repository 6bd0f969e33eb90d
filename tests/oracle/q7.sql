WITH most AS (
  SELECT max(price) AS maxprice, date_bin(INTERVAL '10 seconds', "dateTime") + INTERVAL '10 seconds' AS window_end
  FROM bid GROUP BY 2
)
SELECT bid.auction, bid.bidder, bid.price, bid."dateTime", bid.extra
FROM bid JOIN most ON bid.price = most.maxprice
WHERE bid."dateTime" BETWEEN most.window_end - INTERVAL '10 seconds' AND most.window_end
