/*
 * openmetrics.c
 *		The page /metrics.
 *
 * OpenMetrics names a counter's family without the suffix "_total" that its
 * samples carry; the older text format, which promtool and curl expect, with
 * it.  Apart from that, and from what the latter takes for comments (UNIT,
 * EOF), both are the same.  https://openmetrics.io, version 1.0.0.
 */
#include "postgres.h"

#include <math.h>
#include <sys/resource.h>

#include "common/shortest_dec.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/text.h"
#include "observe/monitor/http/openmetrics.h"
#include "observe/monitor/snapshot.h"
#include "observe/slots/census.h"
#include "observe/slots/ledger.h"
#include "shmem/monitor_status.h"
#include "shmem/names.h"
#include "shmem/run_pool.h"

/* Roles with sessions that get a series of their own; the rest are (others). */
#define ROLES_MAX 32

/* Answers given since this process started. */
static struct
{
	int			status;
	uint64		count;
}			answers[] = {{200}, {404}, {405}, {429}, {503}};

typedef struct Writer
{
	StringInfo	out;
	bool		openmetrics;
} Writer;

/* A family; "unit" is the end of its name, or NULL. */
static void
family(const Writer *w, const char *name, const char *type, const char *unit, const char *help)
{
	const char *suffix = strcmp(type, "counter") == 0 && !w->openmetrics ? "_total" : "";

	appendStringInfo(w->out, "# HELP pool_exhaust_%s%s %s\n# TYPE pool_exhaust_%s%s %s\n",
					 name, suffix, help, name, suffix, type);
	if (unit != NULL)
		appendStringInfo(w->out, "# UNIT pool_exhaust_%s%s %s\n", name, suffix, unit);
}

/* A label with its value, quoted; names of roles may be in any encoding. */
static void
label(const Writer *w, char before, const char *name, const char *value)
{
	appendStringInfo(w->out, "%c%s=\"", before, name);
	for (const char *p = text_as_utf8(value); *p != '\0'; p++)
	{
		if (strchr("\\\"\n", *p) != NULL)
			appendStringInfoChar(w->out, '\\');
		appendStringInfoChar(w->out, *p == '\n' ? 'n' : *p);
	}
	appendStringInfoChar(w->out, '"');
}

/* A sample with two labels, or fewer where a name is NULL; its value as short as it can be read back. */
static void
sample(const Writer *w, const char *name, const char *key, const char *text,
	   const char *key2, const char *text2, double value)
{
	char		number[DOUBLE_SHORTEST_DECIMAL_LEN];

	appendStringInfo(w->out, "pool_exhaust_%s", name);
	if (key != NULL)
		label(w, '{', key, text);
	if (key2 != NULL)
		label(w, ',', key2, text2);
	double_to_shortest_decimal_buf(value, number);
	appendStringInfo(w->out, "%s %s\n", key != NULL ? "}" : "", number);
}

static void
labeled(const Writer *w, const char *name, const char *key, const char *text, double value)
{
	sample(w, name, key, text, NULL, NULL, value);
}

static void
plain(const Writer *w, const char *name, double value)
{
	labeled(w, name, NULL, NULL, value);
}

static void
gauge(const Writer *w, const char *name, const char *unit, double value, const char *help)
{
	family(w, name, "gauge", unit, help);
	plain(w, name, value);
}

static double
to_epoch(TimestampTz at)
{
	return at / 1e6 + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (double) SECS_PER_DAY;
}

static void
write_server(const Writer *w)
{
	Census		census;
	const MonitorSnapshot *snapshot = snapshot_last();

	family(w, "version_info", "gauge", NULL, "Versions of extension and server; always 1.");
	sample(w, "version_info", "extension", EXTVERSION,
		   "server", GetConfigOption("server_version", false, false), 1);
	census_take(&census);
	gauge(w, "max_connections", "connections", MaxConnections, "Slots in all.");
	gauge(w, "superuser_reserved_connections", "connections", SuperuserReservedConnections,
		  "Slots reserved for superusers.");
	gauge(w, "reserved_connections", "connections", ReservedConnections,
		  "Slots reserved for roles with pg_use_reserved_connections.");
	family(w, "slots", "gauge", NULL, "Slots in use, by what their sessions do.");
	for (int i = 0; i < SLOT_STATES; i++)
		labeled(w, "slots", "state", slot_state_names[i], snapshot->by_state[i]);
	gauge(w, "borrowed_connections", "connections", snapshot->borrowed, "Sessions that are borrowed: see pool_exhaust.borrower.");
	gauge(w, "longest_borrowed_seconds", "seconds",
		  snapshot->borrowed > 0 ? Max(GetCurrentTimestamp() - snapshot->borrowed_since, 0) / 1e6 : 0,
		  "How long ago the first of them was borrowed.");
	gauge(w, "waiting_on_lock", NULL, census.waiting_on_lock, "Sessions that wait for a heavyweight lock.");
	gauge(w, "walsenders", NULL, census.walsenders, "Walsenders; they have slots of their own.");
	gauge(w, "workers", NULL, census.workers,
		  "Background and autovacuum workers; they have slots of their own.");
}

/* A figure of a pool. */
typedef struct Figure
{
	const char *name;
	const char *unit;
	double		value;			/* NaN: the pool does not have it */
	const char *help;
} Figure;

/* Returns the n-th figure of a pool; false if there are no more. */
static bool
pool_figure(const PoolRow *row, int n, Figure *figure)
{
	int			capacity = row->limit.capacity;
	const Figure figures[] = {
		{"pool_capacity_connections", "connections", capacity,
		"Connections that the pool can hand out at once."},
		{"pool_in_use_connections", "connections", row->in_use,
		"Connections handed out."},
		{"pool_peak_in_use_connections", "connections", row->remembered ? row->peak_in_use : NAN,
		"Most connections in use since the start or the last reset."},
		{"pool_utilization_ratio", "ratio", capacity > 0 ? (double) row->in_use / capacity : NAN,
		"In use / capacity; more than 1 when reserved slots are in use."},
		{"pool_health", NULL, capacity > 0 ? row->health : NAN,
		"0 healthy, 1 warning, 2 critical, 3 exhausted."},
		{"pool_retry_after_seconds", "seconds", row->retry_after_s > 0 ? row->retry_after_s : NAN,
		"When a connection should be free, by the releases of the last minute."},
	};

	if (n < lengthof(figures))
		*figure = figures[n];
	return n < lengthof(figures);
}

/* A pool of this server or of a run, by its labels. */
typedef struct LabeledPool
{
	const char *kind;
	const char *name;
	PoolRow		row;
} LabeledPool;

/*
 * Adds the pools of runs under way; returns how many there are then.  The labels are
 * places of the run table, as a run's own number would make ever new series.
 */
static int
add_run_pools(LabeledPool *pools, int n)
{
	for (int i = 0; i < RUNS_MAX; i++)
	{
		RunPool		of_run[RUN_PARTIES_MAX];
		int			m = run_pools_try(&shared->runs[i], of_run);

		for (int j = 0; j < m; j++)
			pools[n++] = (LabeledPool) {
				pstrdup(of_run[j].kind), psprintf("run/%d/%d", i + 1, j + 1),
				{.limit.capacity = of_run[j].capacity, .in_use = of_run[j].in_use, .health = of_run[j].health,
				.remembered = true, .peak_in_use = of_run[j].peak_in_use, .retry_after_s = of_run[j].retry_after_s}
			};
	}
	return n;
}

static void
write_pools(const Writer *w)
{
	const List *limits = snapshot_last()->limits;
	PoolRow    *rows = pools_read(limits);
	LabeledPool *pools = palloc(sizeof(LabeledPool) * (list_length(limits) + RUNS_MAX * RUN_PARTIES_MAX));
	int			n = 0;
	Figure		figure;

	for (; n < list_length(limits); n++)
		pools[n] = (LabeledPool) {pool_kind_names[rows[n].limit.kind], rows[n].limit.name, rows[n]};
	n = add_run_pools(pools, n);

	/* There is one pool at least: the server. */
	for (int f = 0; pool_figure(rows, f, &figure); f++)
	{
		family(w, figure.name, "gauge", figure.unit, figure.help);
		for (int i = 0; i < n; i++)
			if (pool_figure(&pools[i].row, f, &figure) && !isnan(figure.value))
				sample(w, figure.name, "kind", pools[i].kind, "pool", pools[i].name, figure.value);
	}
}

typedef struct RoleCount
{
	Oid			role;			/* first, for oid_cmp() */
	const char *name;
	int			in_use;
} RoleCount;

/* Those with the most sessions first. */
static int
compare_counts(const void *a, const void *b)
{
	int			x = ((const RoleCount *) a)->in_use;
	int			y = ((const RoleCount *) b)->in_use;

	return x != y ? y - x : oid_cmp(a, b);
}

/* Adds up the services of each role; returns how many roles there are. */
static int
count_roles(RoleCount *counts)
{
	HASH_SEQ_STATUS seq;
	Service    *service;
	int			services = 0;
	int			n = 0;

	hash_seq_init(&seq, snapshot_last()->services);
	while ((service = hash_seq_search(&seq)) != NULL)
		counts[services++] = (RoleCount) {service->key.role, service->usename, service->in_use};
	qsort(counts, services, sizeof(RoleCount), oid_cmp);
	for (int i = 0; i < services; i++)
	{
		if (n > 0 && counts[n - 1].role == counts[i].role)
			counts[n - 1].in_use += counts[i].in_use;
		else
			counts[n++] = counts[i];
	}
	return n;
}

static void
write_roles(const Writer *w)
{
	RoleCount  *counts;
	int			n;
	int			others = 0;

	family(w, "role_connections", "gauge", "connections",
		   "Sessions, by role; the roles with the most of them, and all others together.");
	counts = palloc(sizeof(RoleCount) * (hash_get_num_entries(snapshot_last()->services) + 1));
	n = count_roles(counts);
	qsort(counts, n, sizeof(RoleCount), compare_counts);
	for (int i = 0; i < n; i++)
	{
		/* A role may have that very name. */
		if (i >= ROLES_MAX || strcmp(counts[i].name, NAMES_OTHERS) == 0)
			others += counts[i].in_use;
		else
			labeled(w, "role_connections", "role", counts[i].name, counts[i].in_use);
	}
	if (others > 0)
		labeled(w, "role_connections", "role", NAMES_OTHERS, others);
}

static void
write_counters(const Writer *w)
{
	family(w, "refusals", "counter", NULL, "Connections refused, by cause.");
	for (int i = 0; i < LEDGER_CAUSES; i++)
		labeled(w, "refusals_total", "cause", cause_kinds[i].name, ledger_refusals(i));
	family(w, "run_refusals", "counter", NULL, "Those of the own roles of runs and holds, by cause.");
	for (int i = 0; i < LEDGER_CAUSES; i++)
		labeled(w, "run_refusals_total", "cause", cause_kinds[i].name, ledger_run_refusals(i));
	family(w, "ledger_blind", "gauge", NULL, "1 while refusals of such processes are not counted: log_min_messages.");
	for (int i = 0; i < REFUSED_PROCESSES; i++)
		labeled(w, "ledger_blind", "process", refused_processes[i].name, ledger_blind_since(i) != 0);
	family(w, "ledger_blind_since_time_seconds", "gauge", "seconds", "Since when they are not.");
	for (int i = 0; i < REFUSED_PROCESSES; i++)
		if (ledger_blind_since(i) != 0)
			labeled(w, "ledger_blind_since_time_seconds", "process", refused_processes[i].name,
					to_epoch((TimestampTz) ledger_blind_since(i)));
	family(w, "opened_connections", "counter", "connections", "Logins granted.");
	plain(w, "opened_connections_total", ledger_logins());
	family(w, "run_opened_connections", "counter", "connections", "Those of the own roles of runs and holds.");
	plain(w, "run_opened_connections_total", ledger_run_logins());
}

static void
write_suspects(const Writer *w, LeakRule rule, LeakCertainty certainty)
{
	int			n = 0;

	for (int i = 0; i < MaxConnections; i++)
	{
		const LeakSession *session = &leak_sessions[i];

		n += session->rule == rule && session->healed_us == 0 && leak_certainty(session) == certainty;
	}
	sample(w, "leak_suspects", "rule", leak_rules[rule]->name, "certainty", leak_certainty_names[certainty], n);
}

/* Suspicions, by rule, and what became of them.  This process alone counts, but for healers by hand. */
static void
write_leaks(const Writer *w)
{
	static const struct
	{
		const char *name;
		size_t		offset;
		const char *help;
	}			counters[] = {
		{"leaks_found", offsetof(LeakCounts, found), "Suspicions that came up."},
		{"leaks_unleaked", offsetof(LeakCounts, unleaked), "Suspects that came back to life, or that their service has spoken for."},
		{"leaks_ended", offsetof(LeakCounts, ended), "Suspects that ended by themselves."},
		{"leaks_healed", offsetof(LeakCounts, healed), "Suspects that the healer ended."},
	};

	family(w, "leak_suspects", "gauge", NULL, "Sessions suspected of a leak, by rule, and how certain that is.");
	for (LeakRule rule = LEAK_NONE + 1; rule < LEAK_RULES; rule++)
	{
		write_suspects(w, rule, leak_rules[rule]->certainty);
		if (leak_rules[rule]->failed_is_certain)
			write_suspects(w, rule, LEAK_CERTAIN);
	}
	for (int i = 0; i < lengthof(counters); i++)
	{
		char	   *total = psprintf("%s_total", counters[i].name);

		family(w, counters[i].name, "counter", NULL, counters[i].help);
		for (LeakRule rule = LEAK_NONE + 1; rule < LEAK_RULES; rule++)
			labeled(w, total, "rule", leak_rules[rule]->name,
					*(const uint64 *) ((const char *) &shared->observed.leaks[rule] + counters[i].offset));
	}
}

static int
runs_under_way(void)
{
	int			n = 0;

	LWLockAcquire(shared->lock, LW_SHARED);
	for (int i = 0; i < RUNS_MAX; i++)
		n += !request_is_hold(&shared->runs[i].request) &&
			(shared->runs[i].state == RUN_STARTING || shared->runs[i].state == RUN_RUNNING);
	LWLockRelease(shared->lock);
	return n;
}

static void
write_monitor(const Writer *w)
{
	struct rusage usage;

	gauge(w, "runs", NULL, runs_under_way(), "Runs of pool_exhaust under way.");
	gauge(w, "start_time_seconds", "seconds", to_epoch(shared->observed.counted_since),
		  "When the counters were 0.");
	gauge(w, "sample_interval_seconds", "seconds", sample_interval / 1000.0,
		  "Time between two samples.");
	gauge(w, "last_sample_time_seconds", "seconds", to_epoch(shared->observed.sampled_at),
		  "When the monitor took its last sample.");
	getrusage(RUSAGE_SELF, &usage);
	family(w, "monitor_cpu_seconds", "counter", "seconds", "CPU time of the monitor.");
	plain(w, "monitor_cpu_seconds_total",
		  usage.ru_utime.tv_sec + usage.ru_stime.tv_sec +
		  (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
	family(w, "http_requests", "counter", NULL, "Requests answered, by status code.");
	for (int i = 0; i < lengthof(answers); i++)
		labeled(w, "http_requests_total", "code", psprintf("%d", answers[i].status), answers[i].count);
}

void
openmetrics_count_response(int status)
{
	for (int i = 0; i < lengthof(answers); i++)
		answers[i].count += answers[i].status == status;
}

/* Writes the page, in OpenMetrics or in the older text format. */
void
openmetrics_write(StringInfo out, bool openmetrics)
{
	Writer		w = {out, openmetrics};

	write_server(&w);
	write_pools(&w);
	write_roles(&w);
	write_counters(&w);
	write_leaks(&w);
	write_monitor(&w);
	appendStringInfoString(out, "# EOF\n");
}
