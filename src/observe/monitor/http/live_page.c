/*
 * live_page.c
 *		The page /report: the live hour, for eyes.
 *
 * All of it comes from shared memory, and each part of it is bounded, so that the page
 * is, too.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/postmaster.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "observe/monitor/health_log.h"
#include "observe/monitor/http/live_charts.h"
#include "observe/monitor/http/live_page.h"
#include "observe/monitor/http/live_tables.h"
#include "observe/monitor/http/live_text.h"
#include "observe/monitor/snapshot.h"
#include "observe/slots/census.h"
#include "plot/page.h"

#define REFRESH_S		5

/* Returns since when the server has that health, as text; palloc'd. */
static char *
since_text(Health health)
{
	HealthChange last = {0};
	HealthChange change;
	uint64		seen = 0;

	while (health_log_next(POOL_SERVER, InvalidOid, &seen, &change))
		last = change;
	if (last.at != 0)
		return psprintf("since %s", live_time(last.health == health ? last.at : GetCurrentTimestamp()));
	if (seen > HEALTH_CHANGES_MAX)
		return psprintf("for longer than the last %d changes of health of all pools", HEALTH_CHANGES_MAX);
	return psprintf("since the server started, %s", live_time(shared->born_at));
}

/* Returns why it has that health, in the words of /readyz and of the settings; palloc'd. */
static char *
reason_text(const PoolRow *server)
{
	int			capacity = server->limit.capacity;
	int			left = Max(capacity - server->in_use, 0);
	const CauseKind *cause;

	switch (server->health)
	{
		case HEALTH_HEALTHY:
			return psprintf("%d of %d slots are free.", left, capacity);
		case HEALTH_WARNING:
			return psprintf("%d of %d slots are in use; it is warning from %d on (pool_exhaust.warning_threshold).",
							server->in_use, capacity, health_level(HEALTH_WARNING, capacity));
		case HEALTH_CRITICAL:
			return psprintf("Cause: utilization. %d of %d slots are in use; it is critical from %d on (pool_exhaust.critical_threshold).",
							server->in_use, capacity, health_level(HEALTH_CRITICAL, capacity));
		default:
			cause = &cause_kinds[server_cause(server)];
			if (left == 0)
				return psprintf("Cause: %s (%s).", cause->name, cause->meaning);
			return psprintf("Cause: %s (%s). %d of %d slots are free by now; health improves after two samples without a refusal.",
							cause->name, cause->meaning, left, capacity);
	}
}

/* Returns when a login should succeed again; palloc'd. */
static char *
retry_text(const PoolRow *server)
{
	if (server->retry_after_s == 0)
		return pstrdup("No session ended in the last minute, so it is not known when a slot will be free.");
	return psprintf("By the releases of the last minute a slot should be free in %d s.", server->retry_after_s);
}

/* Returns the figures behind it; palloc'd. */
static char *
slots_text(const PoolRow *server)
{
	Census		census;

	census_take(&census);
	return psprintf("In use %d of %d, peak %d; free %d of %d, those reserved included; logins that are not through yet %d; "
					"%d walsenders and %d workers have slots of their own.",
					server->in_use, server->limit.capacity, server->peak_in_use, census.free, MaxConnections,
					snapshot_last()->by_state[SLOT_AUTHENTICATING], census.walsenders, census.workers);
}

static void
write_verdict(StringInfo out, const PoolRow *server)
{
	const char *cluster = GetConfigOption("cluster_name", true, false);

	page_heading(out, 1, cluster != NULL && cluster[0] != '\0' ? live_name(cluster) : psprintf("PostgreSQL on port %d", PostPortNumber));
	appendStringInfoString(out, "<p>");
	page_badge(out, health_names[server->health]);
	appendStringInfo(out, " %s</p>\n", since_text(server->health));
	page_paragraph(out, psprintf("reason %s", health_names[server->health]), reason_text(server));
	if (server->health >= HEALTH_CRITICAL)
		page_paragraph(out, NULL, retry_text(server));
	page_paragraph(out, NULL, slots_text(server));
}

/* Which server it is, as of when, and whether it refreshes. */
static void
write_facts(StringInfo out, TimestampTz now, bool refresh)
{
	page_paragraph(out, "muted", psprintf("PostgreSQL %s, port %d, pool_exhaust " EXTVERSION ", as of %s",
										  GetConfigOption("server_version", false, false), PostPortNumber, live_time(now)));
	if (refresh)
		appendStringInfo(out, "<p>Refreshes every %d s. <a href=\"report?refresh=0\">Stop refreshing</a></p>\n", REFRESH_S);
	else
		appendStringInfo(out, "<p><a href=\"report\">Refresh every %d s</a></p>\n", REFRESH_S);
}

/* Writes the page; "refresh": one that the browser loads again by itself.  Needs an observation, but no transaction. */
void
live_page_write(StringInfo out, bool refresh)
{
	TimestampTz now = GetCurrentTimestamp();
	const List *limits = snapshot_last()->limits;
	const PoolRow *pools = pools_read(limits);
	const PoolRow *server = &pools[0];

	page_begin_live(out, psprintf("%s: %d of %d slots in use", health_names[server->health], server->in_use, server->limit.capacity),
					refresh ? REFRESH_S : 0);
	appendStringInfoString(out, "<article>\n");
	write_verdict(out, server);
	write_facts(out, now, refresh);
	live_charts(out, now, server);
	live_refused_services(out);
	live_leaks(out);
	live_runs(out);
	live_pools(out, pools, list_length(limits));
	live_health_changes(out);
	appendStringInfoString(out, "</article>\n");
	page_end(out);
}
