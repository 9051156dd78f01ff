/*
 * story.h
 *		A scenario is a story: phase, act, wait, check.
 *
 * It is plain imperative C.  wait_until() turns the event loop; whatever ends
 * the run from outside (stop, deadline, another client refused) ends the story
 * there, by an ERROR that the runner turns into the verdict.
 */
#ifndef POOL_EXHAUST_STORY_STORY_H
#define POOL_EXHAUST_STORY_STORY_H

#include "lib/stringinfo.h"

#include "base/compat.h"
#include "base/health.h"
#include "load/chaos.h"
#include "load/client.h"
#include "load/pool/pool.h"
#include "shmem/request.h"
#include "shmem/shared.h"
#include "story/samples.h"
#include "story/watch.h"

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
	uint64		timed_out;
	Histogram	latency;		/* of its grants */
	const char *note;			/* one sentence for the report */
	StringInfoData figures;		/* members of a JSON object; data is NULL if there are none */
} Phase;

/* A service of the run: a login role of its own and the pool that it uses. */
typedef struct RunParty
{
	Oid			role;
	char		role_name[NAMEDATALEN];
	Login	   *login;
	struct Endpoint *endpoint;	/* of a foreign server; NULL: it is this one */
	struct Probe *probe;		/* that asks it; NULL if it cannot be asked */
	Pool	   *pool;
	ChaosToll	toll;
	HealthJudge judge;
	uint64		sent_away_judged;	/* refused and timed out up to the last sample */
	RunPool		published;		/* of an application-style pool; see publish.c */
	Releases	releases;
	uint64		released;		/* counted there so far */
	uint64		metered_us;		/* until when in_use_s is added up */
	double		in_use_s;		/* connection seconds, by what was published */
} RunParty;

/* Why a run that another one has started ends with that. */
#define PARENT_ENDED	"the run that it is a part of has ended"

#define LOOSE_MAX	24
#define PHASES_MAX	32
#define CHECKS_MAX	128

typedef struct Run
{
	RunEntry    *entry;			/* in shared memory */
	RunRequest		request;
	const struct Scenario *scenario;
	MemoryContext context;
	Loop		loop;
	AlarmClock	clock;
	RunParty	parties[RUN_PARTIES_MAX];
	int			nparties;
	Pool	   *pool;			/* of the first service */
	Chaos		chaos;			/* what disturbs the sessions of its pools, if anything does */
	struct Hold *hold;			/* the connections held by hand, NULL: there are none */
	struct Endpoint *endpoint;	/* of an HTTP service that it aims at; NULL: none */
	struct HttpClient *http;	/* these two of a story over HTTP; the clean-up closes them */
	struct ReferenceApi *api;
	Session    *loose[LOOSE_MAX];	/* sessions beside those of the pools */
	int			nloose;
	const char *login_endpoint;			/* how it gets to the server */
	const char *database;		/* that its sessions connect to */
	const char *superuser;		/* the server's first one, by name */
	const char *schema;			/* of the extension, quoted */
	uint64		started_us;
	uint64		deadline_us;
	uint64		refused_before; /* in the ledger, for lack of slots */
	uint64		own_knocks;		/* own attempts beside the pool that were refused */

	const int  *done;			/* of the phase, for pool_exhaust_progress */

	/* Runs that this one has started; see children.h. */
	const struct SubRunMethods *sub_run_methods;
	struct SubRun *sub_runs;
	int			nsub_runs;

	/* The runner's own look-out, called now and then: why to end the story, or NULL. */
	const char *(*look_out) (struct Run *run);
	uint64		look_out_us;	/* when it is due again */

	StringInfoData health_path; /* "healthy > warning > ..." */
	uint64		sample_us;		/* when the next sample is due */
	SampleSeries series;
	Watch		watch;			/* the pool as the monitor sees it */

	Phase		phases[PHASES_MAX];
	int			nphases;
	Check		checks[CHECKS_MAX];
	int			nchecks;
	Verdict		verdict;
	int			error_code;		/* SQLSTATE of what ended it, 0 = nothing did */
	char		reason[RUN_REASON_LEN];
} Run;

/* What every scenario over an application-style pool has, beside its size. */
#define POOL_OPTIONS \
	{"max_waiting"}, {"idle_order", {IDLE_LIFO}}, {"max_lifetime_ms"}, \
	{"connect_timeout_ms", {5000, 5000, 5000}}, {"workload"}

/* Scenario.services of one that is made of others. */
#define PARTIES_NONE	(-1)

/* What there is to run.  Each scenario is defined in the file that tells it. */
typedef struct Scenario
{
	const char *name;
	const char *summary;
	const char *effect;			/* what it does to the server */
	TargetKind	default_target;
	int			targets;		/* all that it can aim at: a set of 1 << TargetKind */
	int			parties;		/* roles and pools of its own, 0 counts as 1; or PARTIES_NONE */
	int			limited;		/* the one of these whose role option role_limit is for */
	int			pools;			/* of its pools that are used up; 0: all of them */
	int			embedded;		/* services with an application-style pool, whatever the
								 * target: a set of 1 << number */
	bool		logins;			/* of PgBouncer it uses up the clients, not the pool behind them */
	int			spare_sessions; /* that it opens beside those of its pools ... */
	bool		grows;			/* ... and as many more as are a growth here */
	const OptionDefault *options;	/* its own ones, ended by a name of NULL */
	bool		bare;			/* and it has no others */

	/* ERROR if these options contradict each other; NULL: they cannot. */
	void		(*require) (const Options *options);
	void		(*play) (Run *run);
} Scenario;

extern const Scenario *const scenarios[];
extern const int nscenarios;

extern const Scenario *scenario_find(const char *name);

/* Or else it is made of runs of others, and holds nothing itself. */
static inline bool
scenario_has_pools(const Scenario *scenario)
{
	return scenario->parties != PARTIES_NONE;
}

/* How many roles and pools a run of it has. */
static inline int
scenario_parties(const Scenario *scenario)
{
	return scenario_has_pools(scenario) ? Max(scenario->parties, 1) : 0;
}

/* Does the run aim at a pool of this server? */
#define run_is_local(run)	(!target_is_foreign((run)->request.target))

/* The words of a story. */
extern Phase *phase(Run *run, const char *name);
extern void phase_note(Run *run, const char *fmt,...) pg_attribute_printf(2, 3);
extern void phase_figure(Run *run, const char *name, double value);
extern void phase_paused(Run *run, uint64 us);
extern void phase_end(Run *run);
extern void run_say(Run *run, const char *fmt,...) pg_attribute_printf(2, 3);
extern void run_progress(Run *run, const int *done, int total);
extern Health run_sample(Run *run);
extern bool run_fault(const Run *run, Fault fault);
extern void run_open_session(Run *run, const RunParty *party, Session *session,
							 const SessionEvents *events, void *owner);
extern void run_publish(Run *run);
extern void party_sample(RunParty *party, const PoolState *truth);
extern uint64 run_sent_away(const PoolStats *stats);
pg_noreturn extern void run_end(Run *run, Verdict verdict, const char *fmt,...)
			pg_attribute_printf(3, 4);
extern int64 run_refusals_in_ledger(const Run *run);
extern bool run_must_end(void *run);
extern void run_end_if_must(Run *run);

/* What the server says: see query.c. */
extern PoolState run_pool_state(Run *run);
extern int	run_peak(Run *run);
extern int	sessions_seen(Run *run, RunParty *party);
extern int	sessions_in_activity(Run *run, Oid role);
extern char *query_text(Run *run, const char *sql);
extern int	run_headroom(const Run *run, Oid role);
extern int	sessions_terminate(Oid role, int *pids);

/* What comes before the story: see loads.c and trial.c. */
pg_noreturn extern void options_contradict(const char *hint, const char *fmt,...)
			pg_attribute_printf(2, 3);
extern void require_time_for(const Options *options, int64 ms);
extern void workload_try(Run *run);

/* Chaos: see disturb.c. */
extern void run_begin_chaos(Run *run);
extern void run_disturb(Run *run, int kinds);
extern int	run_chaos_ms(const Run *run);
extern uint64 operations_excused(const RunParty *party, uint64 failed);
extern void run_tell_chaos(Run *run);

/* Its own leaks: see leaks.c. */
extern void run_watch_leaks(Run *run);
extern void run_heal(Run *run, int strategies);
extern int	run_roles(const Run *run, Oid *roles);

/* The run's own load: see loads.c. */
extern LoadConfig load_of(Run *run, const RunParty *party);
extern int	run_capacity(const Run *run);
extern Arrival load_arrival(const Run *run, int64 ms);
extern void load_work(Run *run, LoadConfig *config, int64 ms);
extern void load_end(Run *run, Load *load, int64 timeout_ms);
extern void check_all_ended(Run *run, const char *name, const Tally *tally);
extern void require_held(Run *run, int n);
extern const char *failure_text(const Pool *pool);
extern double percent_of(uint64 part, uint64 whole);
extern char *latency_text(const Histogram *h);
extern char *causes_text(const uint64 *refused_by);
extern uint64 logins_refused(const Pool *pool);

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

#define LOGIN_TIMEOUT_MS (15 * 1000)	/* for one login of a run */

#define EVENT_TURN_MS	20
#define POLL_TURN_MS	2
#define turn_until(run, condition, timeout_ms, turn_ms) \
	for (uint64 wait_end_ = loop_now_us() + (uint64) (timeout_ms) * 1000; \
		 !(condition) && wait_turn(run, wait_end_, turn_ms);)

extern bool wait_turn(Run *run, uint64 end_us, int turn_ms);

/* Claims.  "detail" says what a failure means and what to look at next. */
extern void check_count(Run *run, const char *name, int64 expected, int64 observed,
						const char *detail);
extern void check_chaos(Run *run, const char *name, int64 expected, uint64 excused,
						int64 observed, const char *detail);
extern void check_rise(Run *run, const char *name, int64 expected, int64 observed,
					   const char *detail);
extern void check_at_most(Run *run, const char *name, double limit, double observed,
						  const char *unit, const char *detail);
extern void check_at_least(Run *run, const char *name, double limit, double observed,
						   const char *unit, const char *detail);
extern void check_near(Run *run, const char *name, double expected, double tolerance,
					   double observed, const char *unit, const char *detail);
extern void check_text(Run *run, const char *name, const char *expected,
					   const char *observed, const char *detail);
extern bool check_failed(const Run *run);
extern void check_verdict(Run *run, const char *name, Verdict expected, Verdict observed,
						  const char *detail);
extern void check_skip(Run *run, const char *name, const char *why);

/* Has the run's n-th service an application-style pool, whatever the target is? */
#define party_is_embedded(run, n) (((run)->scenario->embedded & (1 << (n))) != 0)

/* Does a foreign server of that kind need another one beside it, for the second service? */
static inline bool
scenario_needs_second(const Scenario *scenario, TargetKind target)
{
	return target_is_foreign(target) && target != TARGET_HTTP &&
		scenario->parties > 1 && (scenario->embedded & (1 << 1)) == 0;
}

/* The stories. */
extern const Scenario scenario_saturation;
extern const Scenario scenario_queue;
extern const Scenario scenario_leak;
extern const Scenario scenario_degradation;
extern const Scenario scenario_isolation;
extern const Scenario scenario_recovery;
extern const Scenario scenario_latency;
extern const Scenario scenario_accuracy;
extern const Scenario scenario_backpressure;
extern const Scenario scenario_storm;
extern const Scenario scenario_endtoend;
extern const Scenario scenario_all;

#endif							/* POOL_EXHAUST_STORY_STORY_H */
