/*
 * story.h
 *		The words that stories are told in: phase, act, wait, check.
 *
 * It is plain imperative C.  wait_until() turns the event loop; whatever ends
 * the run from outside (stop, deadline, another client refused) ends the story
 * there, by an ERROR that the runner turns into the verdict.
 */
#pragma once

#include "base/compat.h"
#include "load/client.h"
#include "story/run.h"
#include "story/scenario.h"
#include "story/target_type.h"

/* Logins that did not succeed, and the refusals of the run's roles in the ledger. */
typedef struct LoginCounts
{
	int64		refused;
	int64		unanswered;
	int64		ledger;
} LoginCounts;

/* The words of a story. */
extern Phase *phase(Run *run, const char *name);
extern void phase_note(Run *run, const char *fmt,...) pg_attribute_printf(2, 3);
extern char *phase_latency(Run *run, const char *metric, const Histogram *h);
extern void phase_figure(Run *run, const char *name, double value);
extern void phase_paused(Run *run, uint64 us);
extern void phase_end(Run *run);
extern void run_say(Run *run, const char *fmt,...) pg_attribute_printf(2, 3);
extern void run_progress(Run *run, const int *done, int total);
extern void phase_lasts(Run *run, int64 ms);
extern TimestampTz run_now(const Run *run);
extern Health run_sample(Run *run);
extern void health_path_add(StringInfo path, Health health);
extern bool run_fault(const Run *run, Fault fault);
extern void run_open_session(Run *run, const RunParty *party, Session *session,
							 const SessionEvents *events, void *owner);
extern void run_publish(Run *run);
extern void party_sample(RunParty *party, const PoolState *truth);
extern uint64 run_not_granted(const PoolStats *stats);
pg_noreturn extern void run_end(Run *run, Verdict verdict, const char *fmt,...)
			pg_attribute_printf(3, 4);
extern int64 run_refusals_in_ledger(const Run *run);
extern bool run_must_end(void *run);
extern void run_end_if_must(Run *run);

/* What the server and the target report: see query.c. */
extern PoolState run_pool_state(Run *run);
extern void run_settle(Run *run);
extern int	run_peak(Run *run);
extern int	sessions_seen(Run *run, RunParty *party);
extern int	sessions_in_activity(Run *run, Oid role);
extern int	sessions_and_state(Run *run, PoolState *truth);
extern char *query_text(Run *run, const char *sql);
extern int	run_headroom(const Run *run, Oid role);
extern int *sessions_terminate(Oid role, int *n);

/* What comes before the story: see loads.c and workload_check.c. */
pg_noreturn extern void options_contradict(const char *hint, const char *fmt,...)
			pg_attribute_printf(2, 3);
extern void require_time_for(const Options *options, int64 ms);
extern void workload_try(Run *run);

/* Chaos: see disturb.c. */
extern void run_begin_chaos(Run *run);
extern void run_disturb(Run *run, int kinds);
extern int	run_chaos_ms(const Run *run);
extern uint64 operations_excused(const RunParty *party, uint64 failed);
extern void run_report_chaos(Run *run);

/* How late its loop wakes up: see lateness.c. */
extern void run_glance_at_machine(Run *run);
extern void run_begin_lateness(Run *run);
extern int	run_patience(const Run *run, int ms);
extern void run_end_lateness(Run *run);
extern bool run_is_late(const Run *run);
extern bool claim_is_proved(const Run *run, const Check *check);
extern char *clock_set_text(const Run *run);
extern char *lateness_text(const Run *run);
extern int	run_add_excuse(Run *run, int len);
extern void run_report_lateness(Run *run);

/* Its pool as the monitor sees it: see watch.c. */
extern void watch_begin(Run *run);
extern void watch_reached(Run *run, Health health);
extern uint64 watch_wait(Run *run, Health at_least, Health at_most);
extern char *watch_note(const Run *run);

struct Suspect;

/* Its own leaks: see leaks.c. */
extern void run_watch_leaks(Run *run);
extern int	run_suspects(const Run *run, struct Suspect *suspects, int max);
extern void run_heal(Run *run, int strategies);
extern int	run_healed(const Run *run, char **strategies);

/* The run's own load: see loads.c. */
extern LoadConfig load_of(Run *run, const RunParty *party);
extern int	run_capacity(const Run *run);
extern Arrival load_arrival(const Run *run, int64 ms);
extern void load_work(Run *run, LoadConfig *config, int64 ms);
extern Load *load_start(Run *run, const LoadConfig *config);
extern Load *clients_start(Run *run, int n, int clients, int64 operations, int64 ms);
extern Load *arrivals_play(Run *run, const Arrival *arrival);
extern Load *bursts_play(Run *run, double rate, double burst_rate);
extern Tally *load_end(Run *run, Load *load, int64 timeout_ms);
extern void run_hold(Run *run, int n);
extern void run_hold_of(Run *run, Pool *pool, int n);
extern void require_waits(Run *run, const Tally *tally);
extern const char *failure_text(const Run *run, const Pool *pool);
extern char *session_limit_text(const Run *run);
extern double percent_of(uint64 part, uint64 whole);
extern char *latency_text(const Histogram *h);
extern char *causes_text(const uint64 *refused_by);
extern char *phase_causes_text(const Run *run);
extern uint64 logins_refused(const Pool *pool);
extern uint64 logins_unanswered(const Pool *pool);
extern void run_await_logins(Run *run);
extern LoginCounts run_logins(const Run *run);

/*
 * Turn the loop until the condition holds or timeout_ms have passed; the check
 * that follows says which it was.  wait_until() is for what an event of the
 * loop brings about, poll_until() for what happens elsewhere: a slot that comes
 * free sends no event.  linger_until() is for what need not happen: that its time
 * is over means nothing for the checks that follow.  timeout_ms is read at each turn.
 */
#define wait_until(run, condition, timeout_ms) \
	turn_until(run, condition, timeout_ms, EVENT_TURN_MS, true)
#define poll_until(run, condition, timeout_ms) \
	turn_until(run, condition, timeout_ms, POLL_TURN_MS, true)
#define linger_until(run, condition, timeout_ms) \
	do \
	{ \
		phase_lasts(run, timeout_ms); \
		turn_until(run, condition, timeout_ms, EVENT_TURN_MS, false); \
	} while (0)

/* For what has no option; each is longer while the machine is slow. */
#define login_ms(run)	run_patience(run, 15 * 1000)	/* one login of a run */
#define settle_ms(run)	run_patience(run, 10 * 1000)	/* logins, releases, the monitor */
#define release_ms(run)	run_patience(run, 30 * 1000)	/* all sessions of a server end */

#define EVENT_TURN_MS	20
#define POLL_TURN_MS	2
#define turn_until(run, condition, timeout_ms, turn_ms, must) \
	for (uint64 wait_begun_ = loop_now_us(); \
		 !(condition) && wait_turn(run, wait_begun_ + (uint64) (timeout_ms) * 1000, turn_ms, must);)

extern bool wait_turn(Run *run, uint64 end_us, int turn_ms, bool must);

/* Checks.  "detail" says what a failure means and where to see more. */
extern void check_count(Run *run, const char *name, int64 expected, int64 observed,
						const char *detail);
extern void check_chaos(Run *run, const char *name, int64 expected, uint64 excused,
						int64 observed, const char *detail);
extern void check_rise(Run *run, const char *name, int64 expected, int64 unsure, int64 observed,
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
extern const char *check_expected(const Check *check);
extern const char *check_observed(const Check *check);
extern void check_words(Run *run, const char *name, const char *expected, const char *observed,
						const char *detail);
extern void check_skip(Run *run, const char *name, const char *why);
extern void check_was_of_time(Run *run);
extern void check_was_of_delay(Run *run, uint64 late_us);

/* Claims that several stories make: see claims.c. */
extern const char *claim(const char *part, const char *name);
extern void check_peak(Run *run, const char *part, int peak);
extern void check_fifo(Run *run, const char *part, const GrantOrder *order);
extern void check_all_ended(Run *run, const char *part, const Tally *tally);
extern void check_timed_out(Run *run, const char *part, int64 expected, const Tally *tally);
extern void check_timeout_times(Run *run, const char *part, const Tally *tally);
/* What keeps refusals out of the ledger, and what to do. */
#define LEDGER_BLIND \
	"log_min_messages keeps refusals out of the server log, and so out of the ledger: set it to fatal, or a level before it, for backends"

extern void check_ledger(Run *run, const char *part, int64 refused, int64 unanswered, int64 rise);
extern void check_logins_since(Run *run, const char *part, const LoginCounts *before);
extern void check_attempts(Run *run);
extern void check_healed(Run *run, const char *name, int leaks, int ended);
extern void check_sessions_left(Run *run, const char *name, int left);
extern void check_closed(Run *run, const char *name, int closed);
extern void check_all_released(Run *run, const char *part, int in_use);
extern void check_load(Run *run, const char *part, const Tally *tally, uint64 never_asked);

/* Has the run's n-th service an application-style pool, whatever the target is? */
#define party_is_embedded(run, n) (((run)->scenario->embedded & (1 << (n))) != 0)
