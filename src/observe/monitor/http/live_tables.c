/*
 * live_tables.c
 *		The tables of the page /report: refused services, suspected leaks, runs and
 *		holds under way, pools, and changes of health.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "base/text.h"
#include "event/loop.h"
#include "observe/monitor/health_log.h"
#include "observe/monitor/http/live_tables.h"
#include "observe/monitor/http/live_text.h"
#include "observe/monitor/leak_detector.h"
#include "observe/monitor/snapshot.h"
#include "observe/slots/ledger.h"
#include "plot/page.h"
#include "plot/table.h"
#include "shmem/names.h"
#include "shmem/run_entry.h"
#include "shmem/run_pool.h"

/* Rows of each table; what it leaves out is said below it. */
#define ROWS_SHOWN		20

static void
say_left_out(StringInfo out, int n, const char *what)
{
	if (n > ROWS_SHOWN)
		page_paragraph(out, "muted", psprintf("%d more %s.", n - ROWS_SHOWN, what));
}

/* ---------- Refused services ---------- */

typedef struct Refused
{
	Names		names;
	uint64		count;
	uint64		last_at;
} Refused;

static int
compare_names(const void *a, const void *b)
{
	return memcmp(&((const Refused *) a)->names, &((const Refused *) b)->names, sizeof(Names));
}

/* Those that were refused most come first. */
static int
compare_refused(const void *a, const void *b)
{
	uint64		x = ((const Refused *) a)->count;
	uint64		y = ((const Refused *) b)->count;

	return x != y ? (x < y ? 1 : -1) : compare_names(a, b);
}

/* Copies what the tables of names have; returns how many. */
static int
refused_copy(Refused *refused)
{
	int			n = 0;

	for (int i = 0; i < ADDRESS_SCOPES * NAMES_MAX; i++)
	{
		NameEntry  *entry = names_entry(&shared->refused[i / NAMES_MAX], i % NAMES_MAX);

		if (entry != NULL)
			refused[n++] = (Refused) {entry->names, pg_atomic_read_u64(&entry->count), pg_atomic_read_u64(&entry->last_at)};
	}
	return n;
}

/* Adds up equal names, which need not stand beside each other; returns how many are left. */
static int
refused_add_up(Refused *refused, int copied)
{
	int			n = 0;

	qsort(refused, copied, sizeof(Refused), compare_names);
	for (int i = 0; i < copied; i++)
	{
		if (n == 0 || compare_names(&refused[n - 1], &refused[i]) != 0)
		{
			refused[n++] = refused[i];
			continue;
		}
		refused[n - 1].count += refused[i].count;
		refused[n - 1].last_at = Max(refused[n - 1].last_at, refused[i].last_at);
	}
	qsort(refused, n, sizeof(Refused), compare_refused);
	return n;
}

static void
refused_row(StringInfo out, const Refused *refused)
{
	const Names *names = &refused->names;

	table_row(out, live_service(names->usename, names->application_name));
	table_named_text(out, "database", live_name(names->datname));
	table_named_short(out, "client", names->client_addr[0] != '\0' ? names->client_addr : "local");
	table_named_short(out, "cause", cause_kinds[names->cause].name);
	table_named_short(out, "refusals", psprintf(UINT64_FORMAT, refused->count));
	table_named_short(out, "last", live_time((TimestampTz) refused->last_at));
	table_row_end(out);
}

/* Returns how many refusals found no place in any table. */
static uint64
refused_others(void)
{
	uint64		others = 0;

	for (int i = 0; i < ADDRESS_SCOPES; i++)
		others += pg_atomic_read_u64(&shared->refused[i].others);
	return others;
}

/* Writes the services that were refused. */
void
live_refused_services(StringInfo out)
{
	static const char *const columns[] = {"service", "database", "client", "cause", "refusals", "last"};
	Refused    *refused = palloc(sizeof(Refused) * ADDRESS_SCOPES * NAMES_MAX);
	int			n = refused_add_up(refused, refused_copy(refused));
	uint64		others = refused_others();

	page_heading(out, 2, "Refused services");
	if (ledger_blind_since(REFUSED_BACKEND) != 0)
		page_paragraph(out, NULL, psprintf("None is counted since %s: log_min_messages keeps refusals out of the server log; set it to fatal, or a level before it.",
										   live_time((TimestampTz) ledger_blind_since(REFUSED_BACKEND))));
	if (n == 0)
	{
		page_paragraph(out, NULL, psprintf("There are none since %s.", live_time(shared->observed.counted_since)));
		return;
	}
	table_begin_names(out, "Logins that were refused; names are those that clients gave, unauthenticated",
					  lengthof(columns), columns);
	for (int i = 0; i < Min(n, ROWS_SHOWN); i++)
		refused_row(out, &refused[i]);
	table_end(out);
	say_left_out(out, n, "refused services are in view pool_exhaust_refused_services");
	if (others > 0)
		page_paragraph(out, "muted", psprintf(UINT64_FORMAT " refusals more, of services that there was no room to remember.", others));
}

/* ---------- Leaks ---------- */

/* Returns ROLE/APPLICATION_NAME, palloc'd; a role whose name was not read is its number. */
static char *
service_of(const Slot *slot)
{
	ServiceKey	key = service_key(slot);
	const Service *service = hash_search(snapshot_last()->services, &key, HASH_FIND, NULL);

	return live_service(service != NULL ? service->usename : psprintf("%u", slot->role), slot->application_name);
}

static void
suspect_row(StringInfo out, const LeakSession *session, const Slot *slot, uint64 now_us)
{
	char		evidence[LEAK_EVIDENCE_LEN];

	suspect_evidence(session, now_us, evidence);
	table_row(out, service_of(slot));
	table_named_short(out, "pid", psprintf("%d", slot->pid));
	table_named_short(out, "rule", leak_rules[session->rule]->name);
	table_named_short(out, "certainty", leak_certainty_names[leak_certainty(session)]);
	table_named_short(out, "held", psprintf("%s s", number_text(leak_held_us(session, now_us) / 1000 / 1000.0)));
	table_named_text(out, "evidence", evidence);
	table_row_end(out);
}

/* Those that are suspected for longest come first. */
static int
compare_suspects(const void *a, const void *b)
{
	const LeakSession *x = *(const LeakSession *const *) a;
	const LeakSession *y = *(const LeakSession *const *) b;

	return x->suspected_us != y->suspected_us ? (x->suspected_us < y->suspected_us ? -1 : 1) : x->seen.pid - y->seen.pid;
}

/* Writes the sessions that are suspected of a leak. */
void
live_leaks(StringInfo out)
{
	static const char *const columns[] = {"service", "pid", "rule", "certainty", "held", "evidence"};
	bool		fresh;
	const LeakSession *sessions = leak_sessions_copy(&fresh);
	const LeakSession **suspects = palloc_extended(sizeof(LeakSession *) * MaxConnections, MCXT_ALLOC_HUGE);
	uint64		now_us = loop_now_us();
	int			n = 0;
	Slot		slot;

	for (int i = 0; i < MaxConnections; i++)
		if (suspect_read(i, &sessions[i], &slot))
			suspects[n++] = &sessions[i];
	qsort(suspects, n, sizeof(LeakSession *), compare_suspects);
	page_heading(out, 2, "Suspected leaks");
	if (n == 0)
	{
		page_paragraph(out, NULL, "No session is suspected.");
		return;
	}
	table_begin_names(out, "Sessions that may never release their slot, those suspected for longest first", lengthof(columns), columns);
	for (int i = 0; i < Min(n, ROWS_SHOWN); i++)
		if (suspect_read(suspects[i] - sessions, suspects[i], &slot))
			suspect_row(out, suspects[i], &slot, now_us);
	table_end(out);
	say_left_out(out, n, "sessions are suspected: view pool_exhaust_leaks");
}

/* ---------- Runs and holds ---------- */

/* Returns what it does now, palloc'd. */
static char *
run_phase(const RunEntry *run)
{
	if (!request_is_hold(&run->request))
		return live_name(run->phase);
	return run->expires_at != 0 ? psprintf("expires %s", live_time(run->expires_at)) : pstrdup("not complete yet");
}

static void
run_row(StringInfo out, const RunEntry *run, uint32 connections)
{
	bool		is_hold = request_is_hold(&run->request);
	int64		id = is_hold ? run->hold_id : run->run_id;

	table_row(out, psprintf("%s " INT64_FORMAT, is_hold ? (run->request.hold.leaked ? "leak" : "hold") : "run", id));
	table_named_text(out, "scenario", is_hold ? "" : live_name(run->request.scenario));
	table_named_text(out, "target", live_name(run->request.target_name));
	table_named_text(out, "phase", run_phase(run));
	table_named_short(out, "connections", psprintf("%u", connections));
	table_named_short(out, "since", live_time(is_hold ? run->held_at : run->started_at));
	table_row_end(out);
}

/* Writes the runs and holds under way. */
void
live_runs(StringInfo out)
{
	static const char *const columns[] = {"what", "scenario", "target", "phase", "connections", "since"};
	RunEntry	run;
	int			n = 0;

	page_heading(out, 2, "Runs and holds under way");
	for (int i = 0; i < RUNS_MAX; i++)
	{
		run_entry_copy(i, &run);
		if (!run_entry_is_busy(&run))
			continue;
		if (n++ == 0)
			table_begin_names(out, "Sessions of pool_exhaust itself", lengthof(columns), columns);
		run_row(out, &run, pg_atomic_read_u32(&shared->runs[i].connections));
	}
	if (n > 0)
		table_end(out);
	else
		page_paragraph(out, NULL, "There are none.");
}

/* ---------- Pools ---------- */

/* A pool of this server or of a run. */
typedef struct ShownPool
{
	const char *name;
	const char *kind;
	int			capacity;
	int			in_use;
	int			waiting;
	int			peak_in_use;
	Health		health;
	uint64		refused;
} ShownPool;

/* The worst come first, and of these the fullest. */
static int
compare_pools(const void *a, const void *b)
{
	const ShownPool *x = a;
	const ShownPool *y = b;
	double		fuller = (double) y->in_use * x->capacity - (double) x->in_use * y->capacity;

	if (x->health != y->health)
		return (int) y->health - (int) x->health;
	return fuller != 0 ? (fuller > 0 ? 1 : -1) : strcmp(x->name, y->name);
}

/* Returns how many pools there are then, those of runs under way included. */
static int
add_run_pools(ShownPool *shown, int n)
{
	for (int i = 0; i < RUNS_MAX; i++)
	{
		RunPool		of_run[RUN_PARTIES_MAX];
		int			m = run_pools_try(&shared->runs[i], of_run);

		for (int j = 0; j < m; j++)
			shown[n++] = (ShownPool) {
				live_name(of_run[j].name), pstrdup(of_run[j].kind), of_run[j].capacity, of_run[j].in_use, of_run[j].waiting,
				of_run[j].peak_in_use, of_run[j].health, of_run[j].refused
			};
	}
	return n;
}

static void
pool_row(StringInfo out, const ShownPool *pool)
{
	table_row(out, pool->name);
	table_named_short(out, "kind", pool->kind);
	table_named_short(out, "health", pool->capacity > 0 ? health_names[pool->health] : "closed");
	table_named_short(out, "in use", psprintf("%d of %d", pool->in_use, pool->capacity));
	table_named_short(out, "waiting", psprintf("%d", pool->waiting));
	table_named_short(out, "peak", psprintf("%d", pool->peak_in_use));
	table_named_short(out, "refused", psprintf(UINT64_FORMAT, pool->refused));
	table_row_end(out);
}

/* Writes the pools: those of this server, as they were read, and those of runs. */
void
live_pools(StringInfo out, const PoolRow *pools, int n)
{
	static const char *const columns[] = {"pool", "kind", "health", "in use", "waiting", "peak", "refused"};
	ShownPool  *shown = palloc(sizeof(ShownPool) * (n + RUNS_MAX * RUN_PARTIES_MAX));

	for (int i = 0; i < n; i++)
		shown[i] = (ShownPool) {
			live_name(pools[i].limit.name), pool_kind_names[pools[i].limit.kind], pools[i].limit.capacity, pools[i].in_use, 0,
			pools[i].peak_in_use, pools[i].health, pools[i].refused
		};
	n = add_run_pools(shown, n);
	qsort(shown, n, sizeof(ShownPool), compare_pools);
	page_heading(out, 2, "Pools");
	table_begin_names(out, "The server, its walsenders, roles and databases with a CONNECTION LIMIT, and pools of runs",
					  lengthof(columns), columns);
	for (int i = 0; i < Min(n, ROWS_SHOWN); i++)
		pool_row(out, &shown[i]);
	table_end(out);
	say_left_out(out, n, "pools are at /pools");
}

/* ---------- Changes of health ---------- */

/* Writes the changes of health of the server that are remembered, the latest first. */
void
live_health_changes(StringInfo out)
{
	static const char *const columns[] = {"when", "health", "was", "in use", "refused since the sample before"};
	HealthChange changes[HEALTH_CHANGES_MAX];
	uint64		seen = 0;
	int			n = 0;

	while (n < HEALTH_CHANGES_MAX && health_log_next(POOL_SERVER, InvalidOid, &seen, &changes[n]))
		n++;
	page_heading(out, 2, "Changes of health");
	if (n == 0)
	{
		page_paragraph(out, NULL, "None of the server is remembered.");
		return;
	}
	table_begin_names(out, "Of the server, the latest first", lengthof(columns), columns);
	for (int i = n - 1; i >= Max(n - ROWS_SHOWN, 0); i--)
	{
		table_row(out, live_time(changes[i].at));
		table_named_short(out, "health", health_names[changes[i].health]);
		table_named_short(out, "was", health_names[changes[i].was]);
		table_named_short(out, "in use", psprintf("%d of %d", changes[i].in_use, changes[i].limit.capacity));
		table_named_short(out, "refused", psprintf(UINT64_FORMAT, changes[i].refused));
		table_row_end(out);
	}
	table_end(out);
}
