/*
 * healer.c
 *		The healer: ends sessions that are suspected of a leak.
 *
 * Each strategy deals with the suspects of one rule.  They run in the order of
 * pool_exhaust.heal_strategies, and a later one only when an earlier one has
 * nothing left to deal with: in the monitor at a bounded rate, after a time of
 * grace, and not one session more than it takes to get below critical; by
 * pool_exhaust_heal() at once.
 *
 * Never a superuser, never a role of pool_exhaust.heal_exclude_roles, never a
 * walsender, never a session that runs a statement.  That is why there is no
 * strategy for clients that have gone: their sessions run one.  At the moment of
 * the act the session is read again, and must be in the very state that it
 * is suspected for.  Between that read and the signal lie some instructions; a
 * statement that arrives in them is lost, as with pg_terminate_backend().
 */
#include "postgres.h"

#include <signal.h>

#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "event/loop.h"
#include "observe/monitor/healer.h"
#include "observe/monitor/strategy.h"

/* A session that was terminated and has not ended is signaled again after that. */
#define AGAIN_US		(10 * INT64CONST(1000000))

#define SECOND_US		(1000 * 1000)

/* Whether the healer acts by itself. */
enum
{
	HEAL_OFF,
	HEAL_CRITICAL,				/* while health is critical or worse */
	HEAL_ALWAYS
};

static const struct config_enum_entry heal_modes[] = {
	{"off", HEAL_OFF, false},
	{"critical", HEAL_CRITICAL, false},
	{"always", HEAL_ALWAYS, false},
	{NULL, 0, false}
};

static int	heal_mode = HEAL_OFF;

static uint64 observed_us;
static uint64 allowed_us[STRATEGIES];	/* when each may act again */

void
heal_init(void)
{
	DefineCustomEnumVariable("pool_exhaust.heal",
							 "When the monitor ends sessions that are suspected of a leak: off, while health is critical, or always.",
							 NULL,
							 &heal_mode, HEAL_OFF, heal_modes,
							 PGC_SIGHUP, 0, NULL, NULL, NULL);
	strategy_init();
}

static bool
was_terminated(const LeakSession *session, uint64 now_us)
{
	return session->healed_us != 0 && now_us <= session->healed_us + AGAIN_US;
}

/*
 * The run whose session it is; 0: of none, or of a hold.  Takes no lock: a run's id
 * stands from before its roles are made until after its sessions are gone.
 */
static int64
slot_run_id(const Slot *slot)
{
	const RunEntry *run = slot_run(slot);

	return run != NULL && !request_is_hold(&run->request) ? run->run_id : 0;
}

/* The lock also keeps two healers apart. */
bool
heal_act(int number, const char *service, int strategy, uint64 now_us)
{
	Observed   *observed = &shared->observed;
	LeakSession *session = &leak_sessions[number];
	Slot		slot;
	bool		acted;

	LWLockAcquire(shared->observe_lock, LW_EXCLUSIVE);
	acted = !was_terminated(session, now_us) &&
		strategy_is_for(strategy, session) && suspect_read(number, session, &slot) &&
		slot.state == session->seen.state && slot.state_since == session->seen.state_since &&
		slot.state != SLOT_ACTIVE && kill(slot.pid, SIGTERM) == 0;
	if (acted)
	{
		HealLogEntry *record = &observed->heals[observed->heals_written++ % HEALS_MAX];

		observed->leaks[session->counted].healed += session->healed_us == 0;
		session->healed_us = now_us;
		*record = (HealLogEntry) {GetCurrentTimestamp(), slot.pid, slot.role, session->rule, strategy, slot_run_id(&slot)};
		strlcpy(record->service, service, SERVICE_LEN);
		leak_evidence(session, now_us, record->evidence);
	}
	LWLockRelease(shared->observe_lock);
	return acted;
}

/* How many sessions were terminated and have not ended yet. */
static int
healing(const Slot *slots)
{
	int			n = 0;

	for (int i = 0; i < MaxConnections; i++)
		n += leak_sessions[i].healed_us != 0 && slots[i].pid == leak_sessions[i].seen.pid;
	return n;
}

/* Must the server lose more sessions to get below critical? */
static bool
server_has_surplus(const Slot *slots)
{
	const MonitoredPool *server = &shared->observed.pools[0];

	return server->in_use - healing(slots) >= health_level(HEALTH_CRITICAL, server->limit.capacity);
}

/* The run that decides itself what becomes of the session; NULL: the settings do. */
static RunEntry *
slot_judge(const Slot *slot)
{
	RunEntry   *run = slot_run(slot);

	return run != NULL && pg_atomic_read_u32(&run->leak_threshold_ms) != LEAK_THRESHOLD_SETTING ? run : NULL;
}

/* How certain it must be that the session is a leak, by the setting or by its run; -1: the run wants none to be ended. */
static int
certainty_wanted(const Slot *slot)
{
	RunEntry   *run = slot_judge(slot);

	return run != NULL ? (int) pg_atomic_read_u32(&run->heal) - 1 : heal_certainty;
}

/* Is there a need to end sessions like this one, by the settings or by its run? */
static bool
heal_is_wanted(const MonitorSnapshot *snapshot, const Slot *slot)
{
	if (slot_judge(slot) != NULL)
		return certainty_wanted(slot) >= 0;
	return heal_mode == HEAL_ALWAYS || (heal_mode == HEAL_CRITICAL && server_has_surplus(snapshot->slots));
}

/* May any session be ended, by the setting or by a run that judges its own? */
static bool
heal_is_on(void)
{
	bool		on = heal_mode != HEAL_OFF;

	for (int i = 0; i < RUNS_MAX && !on; i++)
		on = pg_atomic_read_u32(&shared->runs[i].leak_threshold_ms) != LEAK_THRESHOLD_SETTING &&
			pg_atomic_read_u32(&shared->runs[i].heal) > 0;
	return on;
}

/* The strategy has acted: what it did not use up before the last observation is lost. */
static void
strategy_acted(int number, uint64 now_us)
{
	uint64		from_us = Max(allowed_us[number], Min(observed_us, now_us));

	allowed_us[number] = Max(from_us, now_us - Min(now_us, SECOND_US)) + SECOND_US / strategies[number].per_second;
}

/*
 * The turn that the session is in, one bit of a set: strategies take turns among the
 * sessions of each run that judges them itself, and among all others.
 */
static uint32
heal_turn(const Slot *slot)
{
	const RunEntry *run = slot_judge(slot);

	return run != NULL ? UINT32_C(1) << (run - shared->runs) : UINT32_C(1) << RUNS_MAX;
}

/* The order of slots decides between two sessions suspected since the same observation. */
static bool
suspected_before(int a, int b)
{
	uint64		a_us = leak_sessions[a].suspected_us;
	uint64		b_us = leak_sessions[b].suspected_us;

	return a_us != b_us ? a_us < b_us : a < b;
}

/* May the strategy end that session: is it of its rule, and is it its turn there? */
static bool
strategy_is_due(int number, const MonitorSnapshot *snapshot, int i, uint64 now_us, uint32 before)
{
	const Slot *slot = &snapshot->slots[i];
	const LeakSession *session = &leak_sessions[i];

	return suspect_rule(i, slot) != LEAK_NONE && !was_terminated(session, now_us) &&
		strategy_is_for(number, session) && strategy_why_spared(session, slot, certainty_wanted(slot)) == NULL &&
		heal_is_wanted(snapshot, slot) && (before & heal_turn(slot)) == 0;
}

/*
 * Returns the slot of the session that the strategy ends next: of those past
 * their time of grace the one suspected for longest, after "last", the slot
 * before (-1: none); -1 if there is none.  Notes where there are sessions for it.
 */
static int
strategy_pick(int number, const MonitorSnapshot *snapshot, int last, uint64 now_us, uint32 before, uint32 *turns)
{
	int			next = -1;

	for (int i = 0; i < MaxConnections; i++)
	{
		const LeakSession *session = &leak_sessions[i];
		uint64		grace_us = (uint64) session->seen.threshold_ms * 10 * strategies[number].grace_percent;

		if (!strategy_is_due(number, snapshot, i, now_us, before))
			continue;
		*turns |= heal_turn(&snapshot->slots[i]);
		if (now_us >= session->suspected_us + grace_us && (last < 0 || suspected_before(last, i)) &&
			(next < 0 || suspected_before(i, next)))
			next = i;
	}
	return next;
}

/* Lets one strategy end the sessions that it may, no more than the rate allows, where it is its turn. */
static void
strategy_run(int number, const MonitorSnapshot *snapshot, uint64 now_us, uint32 *turns)
{
	uint32		before = *turns;
	int			i = -1;

	while ((i = strategy_pick(number, snapshot, i, now_us, before, turns)) >= 0 &&
		   allowed_us[number] <= now_us)
	{
		const Slot *slot = &snapshot->slots[i];
		char		service[SERVICE_LEN];

		service_name(slot->role, slot->application_name, service);
		if (heal_act(i, service, number, now_us))
			strategy_acted(number, now_us);
	}
}

/*
 * The monitor's part, after it has judged: ends suspects if that is wanted.  It
 * alone writes the leak sessions, so it needs no lock to read them.  Needs a
 * transaction.
 */
void
heal_suspects(const MonitorSnapshot *snapshot)
{
	uint64		now_us = loop_now_us();
	uint32		turns = 0;		/* those in which a strategy before has sessions */

	/* Names of roles must not be waited for. */
	if (snapshot->readable && !ProcDiePending && heal_is_on())
		for (const int *s = strategies_in_order; *s != NO_STRATEGY; s++)
			strategy_run(*s, snapshot, now_us, &turns);
	observed_us = now_us;
}
