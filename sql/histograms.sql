-- Histograms of latencies: percentiles, sums, and what is not one.

-- The value that a fraction does not exceed: the last one of those, from 0 to all
SELECT fraction, pool_exhaust_percentile('{{10,1},{20,2},{40,1}}', fraction)
FROM unnest(ARRAY[0, 0.24, 0.25, 0.5, 0.74, 0.75, 0.99, 1]) AS fraction;
SELECT pool_exhaust_percentile('{{7,1}}', 0.5) AS one, pool_exhaust_percentile('{{0,3},{5,0}}', 1) AS empty_last,
       pool_exhaust_percentile('{{9223372036854775807,9223372036854775807}}', 1) AS largest;

-- Of nothing there is no percentile
SELECT pool_exhaust_percentile('{}', 0.5) AS empty, pool_exhaust_percentile('{{5,0}}', 0.5) AS zero,
       pool_exhaust_percentile(NULL, 0.5) AS unknown, pool_exhaust_percentile('{{1,1}}', NULL) AS no_fraction;

-- Sums
SELECT pool_exhaust_merge_buckets('{{10,1},{30,2}}', '{{10,5},{20,1},{40,1}}') AS both,
       pool_exhaust_merge_buckets('{}', '{{10,1}}') AS with_empty, pool_exhaust_merge_buckets('{}', '{}') AS empties,
       pool_exhaust_merge_buckets('{{1,1}}', NULL) AS with_null;
SELECT pool_exhaust_merge(b) FROM (VALUES ('{{10,1}}'::bigint[]), (NULL), ('{}'), ('{{5,2},{10,3}}')) AS v(b);
SELECT pool_exhaust_merge(b) AS of_none FROM (SELECT NULL::bigint[] WHERE false) AS v(b);

-- Many are what one would be that had all their values, in whatever order they come
CREATE TABLE parts AS
	SELECT i % 17 AS part, (i * i) % 101 AS value, count(*) AS n FROM generate_series(1, 2000) AS i GROUP BY 1, 2;
WITH histograms AS (SELECT part, array_agg(ARRAY[value, n] ORDER BY value) AS buckets FROM parts GROUP BY part),
     one AS (SELECT array_agg(ARRAY[value, n] ORDER BY value) AS buckets
             FROM (SELECT value, sum(n)::bigint AS n FROM parts GROUP BY value) AS s)
SELECT (SELECT count(*) FROM histograms) AS parts,
       (SELECT pool_exhaust_merge(buckets ORDER BY part) FROM histograms) = buckets AS same,
       (SELECT pool_exhaust_merge(buckets ORDER BY part DESC) FROM histograms) = buckets AS same_backwards,
       (SELECT bool_and(pool_exhaust_percentile(pool_exhaust_merge_buckets(buckets, buckets), f / 100.0) = pool_exhaust_percentile(buckets, f / 100.0))
        FROM generate_series(0, 100) AS f) AS percentiles_of_two_copies
FROM one;

-- A percentile is what percentile_disc() says of the values
SELECT count(*) AS percentiles, count(*) FILTER (WHERE pool_exhaust_percentile(buckets, f) <>
           (SELECT percentile_disc(f) WITHIN GROUP (ORDER BY (i * i) % 101) FROM generate_series(1, 2000) AS i)) AS differ
FROM generate_series(0.0051, 0.9951, 0.01) AS f,
     (SELECT array_agg(ARRAY[value, n] ORDER BY value) AS buckets FROM (SELECT value, sum(n)::bigint AS n FROM parts GROUP BY value) AS s) AS h;

-- What is no histogram
SELECT pool_exhaust_percentile('{1,2}', 0.5);
SELECT pool_exhaust_percentile('{{1,2,3}}', 0.5);
SELECT pool_exhaust_percentile('{{{1,2}}}', 0.5);
SELECT pool_exhaust_percentile('{{1,NULL}}', 0.5);
SELECT pool_exhaust_percentile('{{-1,1}}', 0.5);
SELECT pool_exhaust_percentile('{{1,-1}}', 0.5);
SELECT pool_exhaust_percentile('{{2,1},{1,1}}', 0.5);
SELECT pool_exhaust_percentile('{{1,1},{1,1}}', 0.5);
SELECT pool_exhaust_merge_buckets('{{1,1}}', '{{1}}');
SELECT pool_exhaust_merge_buckets('{{2,1},{1,1}}', '{{1,1}}');
SELECT pool_exhaust_merge(b) FROM (VALUES ('{{1,1}}'::bigint[]), ('{1}')) AS v(b);
-- (one alone, too)
SELECT pool_exhaust_merge(b) FROM (VALUES ('{1}'::bigint[])) AS v(b);

-- What does not fit
SELECT pool_exhaust_merge_buckets('{{1,9223372036854775807}}', '{{1,1}}');
SELECT pool_exhaust_percentile('{{1,1}}', -0.1);
SELECT pool_exhaust_percentile('{{1,1}}', 1.1);
SELECT pool_exhaust_percentile('{{1,1}}', 'NaN');
SELECT pool_exhaust_percentile('{{1,1}}', 99);
SELECT pool_exhaust_percentile('{}', 99);

DROP TABLE parts;
