/*
 * run.h
 *		A run as its runner has it: what it was asked for, its parties and their
 *		pools, and what it has found so far.
 */
#pragma once

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"

#include "base/comparison.h"
#include "base/health.h"
#include "base/words.h"
#include "load/chaos.h"
#include "load/pool/pool.h"
#include "observe/slots/processors.h"
#include "shmem/request.h"
#include "shmem/shared.h"
#include "story/samples.h"

#define OUTCOME_LIST(ROW) \
	ROW(OUTCOME_PASS, "pass") \
	ROW(OUTCOME_FAIL, "fail") \
	ROW(OUTCOME_SKIP, "skip")

typedef enum Outcome
{
	OUTCOME_LIST(LIST_MEMBER)
} Outcome;

extern const char *const outcome_names[];

/* One claim that was checked; all strings live in the run's memory context. */
typedef struct Check
{
	const char *phase;
	const char *name;
	Outcome		outcome;
	Comparison	comparison;
	const char *expected;		/* these two if texts were compared, otherwise NULL */
	const char *observed;
	const char *unit;
	const char *detail;			/* what a failure means and what to check next */
	bool		of_time;		/* a machine that is too busy breaks it by itself */
	bool		of_speed;		/* so does one whose processors others take a large part of */
	uint64		of_delay_us;	/* so does a pooler that is so late, or the run; 0: none does */
} Check;

/* One step of the story, with its own figures. */
typedef struct Phase
{
	const char *name;
	uint64		started_us;
	uint64		elapsed_us;		/* without the pauses */
	uint64		paused_us;		/* nothing to do but to wait for the monitor */
	uint64		cpu_us;			/* spent by the runner itself */
	PoolStats	before;			/* the pool's figures when the phase began */
	uint64		granted;
	uint64		refused;
	uint64		timed_out;
	Histogram	latency;		/* of its grants */
	const char *note;			/* one sentence for the report */
	StringInfoData figures;		/* members of a JSON object; data is NULL if there are none */
} Phase;

/* How fast the machine was when the run began; 0 = not measured. */
typedef struct Calibration
{
	double		logins_per_s;	/* to this server, one after the other */
	double		loops_per_s;	/* of a fixed loop */
} Calibration;

/* A latency that a phase has measured, for the results; in the run's memory context. */
typedef struct PhaseLatency
{
	const char *phase;
	const char *metric;
	int			n;
	int64	   *pairs;			/* n of them, see histogram_pairs() */
} PhaseLatency;

/* A service of the run: a login role of its own and the pool that it uses. */
typedef struct RunParty
{
	Oid			role;
	char		role_name[NAMEDATALEN];
	Login	   *login;
	struct Endpoint *endpoint;	/* of a foreign server; NULL: it is this one */
	struct Probe *probe;		/* that asks it; NULL if it cannot be asked */
	Pool	   *pool;
	ChaosCounts chaos_counts;
	HealthJudge judge;
	uint64		not_granted_judged; /* refused and timed out up to the last sample */
	RunPool		published;		/* of an application-style pool; see publish.c */
	Releases	releases;
	uint64		released;		/* counted there so far */
	uint64		metered_us;		/* until when in_use_s is added up */
	double		in_use_s;		/* connection seconds, by what was published */
} RunParty;

#define LOOSE_MAX	24
#define PHASES_MAX	32
#define CHECKS_MAX	128

/* The pool as the monitor sees it; see watch.c. */
typedef struct Watch
{
	const char *absent;			/* why there is nothing to watch, or NULL */
	PoolKind	kind;
	Oid			oid;
	uint64		seen;			/* counts the monitor's transitions */
	Health		health;			/* as of the last one */
	StringInfoData path;		/* "healthy > warning > ...", the way up */
	uint64		reached_us[HEALTHS];	/* when the pool got there; 0 = not yet */
	uint64		noticed_us[HEALTHS];	/* when the monitor noticed */
} Watch;

typedef struct Run
{
	RunEntry   *entry;			/* in shared memory */
	RunRequest	request;		/* what was asked for */
	Options		options;		/* in force */
	OptionSet	left_to_target; /* of these, what the target decides on when it is asked */
	const struct Scenario *scenario;
	const struct TargetType *target;	/* what it aims at can do that */
	MemoryContext context;
	Loop		loop;
	AlarmClock	clock;
	Alarm		tick;			/* these ten: see lateness.c */
	Histogram	late;
	Histogram	ready;			/* processes, not us */
	double		slowness;		/* of the last second or so; 1.0 = too busy */
	ProcessorTimes processors;	/* when the story began ... */
	bool		processors_known;	/* ... if that could be read */
	double		others;			/* share of the processors that other processes took; 0 = not known */
	uint64		monitor_late_us;	/* of its samples the latest, where the run needs those */
	uint64		pooler_late_us; /* the longest that the console of a pooler took to answer */
	uint64		drivers_late_us;	/* so late a driver did something, at the most */
	uint64		login_us;		/* its first login took that; 0 = not known */
	bool		too_busy;		/* it is invalid or aborted, and the machine was too busy */
	bool		ledger_blind;	/* it was to count refusals, and could not */
	bool		target_gone;	/* that of its drivers: it need not be waited for */
	bool		out_of_time;	/* a wait of the story was over before what it waited for */
	RunParty	parties[RUN_PARTIES_MAX];
	int			nparties;
	Pool	   *pool;			/* of the first service */
	struct Drivers *drivers;	/* that generate its load; NULL: none */
	Chaos		chaos;			/* what disturbs the sessions of its pools, if anything does */
	struct Hold *hold;			/* the connections held by hand, NULL: there are none */
	struct Endpoint *endpoint;	/* of the HTTP service that is its target; NULL: none */
	struct HttpClient *http;	/* these two of a story over HTTP; the clean-up closes them */
	struct ReferenceApi *api;
	Session    *loose[LOOSE_MAX];	/* sessions beside those of the pools */
	int			nloose;
	const char *login_endpoint; /* the name of the endpoint that it logs in over */
	const char *way_in;			/* the sort of that, if it is this server's; NULL: it is not */
	Calibration calibration;
	const char *database;		/* that its sessions connect to */
	const char *superuser;		/* the server's first one, by name */
	uint64		started_us;
	TimestampTz started_at;		/* by the server's clock, which may be set meanwhile */
	uint64		deadline_us;
	uint64		refused_before; /* in the ledger, for lack of slots */
	uint64		own_refused;	/* attempts of its own beside the pool that were refused */

	const int  *done;			/* of the phase, for pool_exhaust_progress */
	uint64		phase_us;		/* when the phase began */
	uint64		over_us;		/* when the time of the phase is over; 0 = it is not known */
	uint64		say_us;			/* when the next line on its progress is due */

	/* Runs that this one has started; see sub_runs.h. */
	const struct SubRunMethods *sub_run_methods;
	struct SubRun *sub_runs;
	int			nsub_runs;
	RunRequest *base;			/* what the run of option against was asked, NULL: not known yet */

	/*
	 * Set by the runner, called every 100 ms: why the run must end, or NULL.  For
	 * what sends no event.
	 */
	const char *(*poll_end) (struct Run *run);
	uint64		poll_end_us;	/* when it is due again */

	StringInfoData health_path; /* "healthy > warning > ..." */
	uint64		sample_us;		/* when the next sample is due */
	SampleSeries series;
	Watch		watch;			/* the pool as the monitor sees it */
	uint64		heals_before;	/* acts of the healer before it was to heal this run */

	Phase		phases[PHASES_MAX];
	int			nphases;
	List	   *latencies;		/* of PhaseLatency */
	Check		checks[CHECKS_MAX];
	int			nchecks;
	Verdict		verdict;
	int			error_code;		/* SQLSTATE of what ended it, 0 = nothing did */
	char		reason[RUN_REASON_LEN];
} Run;
