/*
 * scenario.h
 *		A scenario is a story: phase, act, wait, check.
 *
 * It is plain imperative C.  wait_until() turns the event loop; whatever ends
 * the run from outside (stop, deadline, another client refused) ends the story
 * there, by an ERROR that the runner turns into the verdict.
 */
#ifndef POOL_EXHAUST_SCENARIO_H
#define POOL_EXHAUST_SCENARIO_H

#include "lib/stringinfo.h"

#include "compat.h"
#include "load/pool.h"
#include "observe/health.h"
#include "plan.h"
#include "shared.h"
#include "timeline.h"
#include "watch.h"

typedef enum Outcome
{
	OUTCOME_PASS,
	OUTCOME_FAIL,
	OUTCOME_SKIP
} Outcome;

extern const char *const outcome_names[];

/* One comparison; all strings live in the run's memory context. */
typedef struct Check
{
	const char *phase;
	const char *name;
	Outcome		outcome;
	char	   *expected;
	char	   *observed;
	const char *unit;
	const char *detail;			/* what a failure means and where to look */
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
	Histogram	latency;		/* of its grants */
	const char *note;			/* one sentence for the report */
} Phase;

#define PHASES_MAX	16
#define CHECKS_MAX	64

typedef struct Run
{
	RunSlot    *slot;			/* in shared memory */
	RunPlan		plan;
	const struct Scenario *scenario;
	MemoryContext context;
	Loop		loop;
	Pool	   *pool;
	Oid			role;			/* the run's own login role */
	char		role_name[NAMEDATALEN];
	const char *way_in;			/* how it gets to the server */
	const char *database;		/* that its sessions connect to */
	const char *superuser;		/* the server's first one, by name */
	uint64		started_us;
	uint64		deadline_us;
	uint64		refused_before; /* in the ledger, for lack of slots */
	uint64		own_knocks;		/* own attempts beside the pool that were refused */

	const int  *done;			/* of the phase, for pool_exhaust_progress */

	/* The runner's own look-out, called now and then: why to end the story, or NULL. */
	const char *(*look_out) (struct Run *run);
	uint64		look_out_us;	/* when it is due again */

	HealthJudge judge;
	StringInfoData health_path; /* "healthy > warning > ..." */
	uint64		refused_judged; /* the pool's refusals up to the last sample */
	uint64		sample_us;		/* when the next sample is due */
	Timeline	timeline;
	Watch		watch;			/* the pool as the monitor sees it */

	Phase		phases[PHASES_MAX];
	int			nphases;
	Check		checks[CHECKS_MAX];
	int			nchecks;
	Verdict		verdict;
	char		reason[RUN_REASON_LEN];
} Run;

typedef struct Scenario
{
	const char *name;
	const char *summary;
	const char *effect;			/* what it does to the server */
	TargetKind	default_target;
	void		(*play) (Run *run);
} Scenario;

extern const Scenario scenarios[];
extern const int nscenarios;

extern const Scenario *scenario_find(const char *name);

/* The words of a story. */
extern Phase *phase(Run *run, const char *name);
extern void phase_note(Run *run, const char *fmt,...) pg_attribute_printf(2, 3);
extern void phase_paused(Run *run, uint64 us);
extern void phase_end(Run *run);
extern void run_say(Run *run, const char *fmt,...) pg_attribute_printf(2, 3);
extern void run_progress(Run *run, const int *done, int total);
extern Health run_sample(Run *run);
extern bool run_fault(const Run *run, Fault fault);
pg_noreturn extern void run_end(Run *run, Verdict verdict, const char *fmt,...)
			pg_attribute_printf(3, 4);
extern int64 run_refusals_in_ledger(const Run *run);
extern bool run_must_end(void *run);
extern void run_end_if_must(Run *run);
extern int	sessions_in_activity(Oid role);

/*
 * Turn the loop until the condition holds or timeout_ms have passed; the check
 * that follows says which it was.  wait_until() is for what an event of the
 * loop brings about, poll_until() for what happens elsewhere: a slot that comes
 * free sends no event.
 */
#define wait_until(run, condition, timeout_ms) \
	turn_until(run, condition, timeout_ms, EVENT_TURN_MS)
#define poll_until(run, condition, timeout_ms) \
	turn_until(run, condition, timeout_ms, POLL_TURN_MS)

#define EVENT_TURN_MS	20
#define POLL_TURN_MS	2
#define turn_until(run, condition, timeout_ms, turn_ms) \
	for (uint64 wait_end_ = loop_now_us() + (uint64) (timeout_ms) * 1000; \
		 !(condition) && wait_turn(run, wait_end_, turn_ms);)

extern bool wait_turn(Run *run, uint64 end_us, int turn_ms);

/* Claims.  "detail" says what a failure means and what to look at next. */
extern void check_count(Run *run, const char *name, int64 expected, int64 observed,
						const char *detail);
extern void check_rise(Run *run, const char *name, int64 expected, int64 observed,
					   const char *detail);
extern void check_at_most(Run *run, const char *name, double limit, double observed,
						  const char *unit, const char *detail);
extern void check_text(Run *run, const char *name, const char *expected,
					   const char *observed, const char *detail);
extern void check_skip(Run *run, const char *name, const char *why);

/* The stories. */
extern void scenario_saturation(Run *run);

#endif							/* POOL_EXHAUST_SCENARIO_H */
