/*
 * pools.c
 *		The rows of view pool_exhaust_pools, and pool_exhaust_health().
 */
#include "postgres.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "api/rows.h"
#include "base/compat.h"
#include "base/text.h"
#include "event/loop.h"
#include "observe/monitor/pools.h"
#include "shmem/run_pool.h"

PG_FUNCTION_INFO_V1(pool_exhaust_pools_rows);
PG_FUNCTION_INFO_V1(pool_exhaust_health);

/* What is not known of a pool, and no release, is null. */
static void
pool_put(RowBuilder *row, const char *name, const char *kind, const RunPool *pool,
		 bool granted_known, bool waits_known, bool peak_known)
{
	uint64		now_us = loop_now_us();

	row_text(row, name);
	row_text(row, kind);
	row_int(row, pool->capacity);
	row_int(row, pool->in_use);
	row_int(row, pool->idle);
	row_int(row, pool->overflow);
	row_int(row, pool->waiting);
	row_utilization(row, pool->in_use, pool->capacity);
	row_text(row, pool->capacity > 0 ? health_names[pool->health] : NULL);
	row_bigint_if(row, granted_known, (int64) pool->granted);
	row_bigint(row, (int64) pool->refused);
	row_bigint(row, (int64) pool->timed_out);
	row_float_if(row, waits_known, pool->wait_p50_ms);
	row_float_if(row, waits_known, pool->wait_p95_ms);
	row_float_if(row, waits_known, pool->wait_p99_ms);
	row_float_if(row, waits_known, pool->wait_max_ms);
	row_float_if(row, pool->oldest_us != 0,
				 now_us > pool->oldest_us ? (now_us - pool->oldest_us) / 1000.0 : 0);
	row_int_if(row, peak_known, pool->peak_in_use);
	row_time(row, (uint64) pool->peak_at);
	row_int_if(row, pool->retry_after_s != 0, pool->retry_after_s);
	row_end(row);
}

/* A pool that this server is: it has no idle connections, and no queue. */
static void
server_pool_put(RowBuilder *row, const PoolRow *pool)
{
	RunPool		shown = {
		.capacity = pool->limit.capacity,
		.in_use = pool->in_use,
		.health = pool->health,
		.granted = pool->granted,
		.refused = pool->refused,
		.peak_in_use = pool->peak_in_use,
		.peak_at = pool->peak_at,
		.retry_after_s = pool->retry_after_s,
	};

	pool_put(row, pool->limit.name, pool_kind_names[pool->limit.kind], &shown,
			 pool->granted >= 0, false, pool->remembered);
}

/*
 * Numbers of runs count in each database, so a run of another one is named
 * with that.
 */
static char *
run_pool_name(const RunPool *pool, Oid database)
{
	char	   *name;
	char	   *text;

	if (database == MyDatabaseId)
		return pstrdup(pool->name);
	name = get_database_name(database);
	text = psprintf("%s of %s", pool->name, name != NULL ? name : "a database that is gone");
	text_make_valid(text, GetDatabaseEncoding());
	return text;
}

/* The rows of view pool_exhaust_pools: this server's, and those of runs. */
Datum
pool_exhaust_pools_rows(PG_FUNCTION_ARGS)
{
	RowBuilder	row = view_begin(fcinfo);
	List	   *limits = limits_read();
	PoolRow    *server = pools_read(limits);

	for (int i = 0; i < list_length(limits); i++)
		server_pool_put(&row, &server[i]);
	for (int i = 0; i < RUNS_MAX; i++)
	{
		RunPool		pools[RUN_PARTIES_MAX];
		int			n = run_pools_read(&shared->runs[i], pools);

		for (int j = 0; j < n; j++)
			pool_put(&row, run_pool_name(&pools[j], shared->runs[i].database), pools[j].kind, &pools[j],
					 true, pools[j].granted > 0, true);
	}
	return (Datum) 0;
}

/* SQL: the health of the server. */
Datum
pool_exhaust_health(PG_FUNCTION_ARGS)
{
	shared_require();
	PG_RETURN_TEXT_P(cstring_to_text(health_names[pools_read(limits_of_server())->health]));
}
