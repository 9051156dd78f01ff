/*
 * chaos.c
 *		Seeded fault injection: disturbs the sessions of a run at random.
 *
 * The seed alone decides when the next act comes, what kind it is, which of
 * the open sessions it affects and how long it lasts; the stream of random
 * numbers is chaos' own, and each act takes the same share of it, whatever
 * comes of it.  The clock of the acts runs from the begin to the end, also
 * while a story lets nothing happen: so the same seed is the same sequence of
 * acts, and only how they end is up to the run.
 *
 * Everything here runs inside the loop and never throws.
 */
#include "postgres.h"

#include <signal.h>

#include "load/arrival.h"
#include "load/chaos.h"
#include "observe/slots/census.h"

const char *const chaos_kind_names[CHAOS_KINDS] = {CHAOS_KIND_LIST(LIST_WORD)};
const char *const act_end_names[] = {ACT_END_LIST(LIST_WORD)};

/* How long an act of that extent lasts. */
static uint64
extent_us(double extent, int min_ms, int max_ms)
{
	return (uint64) ((min_ms + extent * (max_ms - min_ms)) * 1000);
}

static void
chaos_count(Chaos *chaos, const Session *session, ChaosKind kind)
{
	chaos->counts.done[kind]++;
	session->login->chaos_counts->done[kind]++;
}

/* ---------- Hooks into the sessions of a login ---------- */

/* Closed, or not delayed any longer. */
static void
chaos_leave(Session *session)
{
	if (!session->listed)
		return;
	session->listed = false;
	dlist_delete(&session->hook_node);
	alarm_unset(session->login->chaos->clock, &session->pause);
}

/* Ends a stall or a delay, now. */
static void
session_resume(Session *session)
{
	if (session->state == SESSION_CONNECTING)
		chaos_leave(session);
	else
		alarm_unset(session->login->chaos->clock, &session->pause);
	session_go_on(session);
}

/* The end of a stall or of a delay. */
static void
chaos_pause_over(Alarm *alarm)
{
	session_resume(alarm->owner);
}

static void
chaos_pause(Session *session, uint64 us)
{
	session->pause.ring = chaos_pause_over;
	session->pause.owner = session;
	alarm_set(session->login->chaos->clock, &session->pause, loop_now_us() + us);
}

static void
chaos_list(dlist_head *list, Session *session)
{
	dlist_push_tail(list, &session->hook_node);
	session->listed = true;
}

/* A session is to connect: if a delay is due, it gets that. */
static bool
chaos_before_connect(Session *session)
{
	Chaos	   *chaos = session->login->chaos;

	if (chaos->clock == NULL || chaos->delay_us == 0)
		return false;
	chaos_pause(session, chaos->delay_us);
	chaos->delay_us = 0;
	chaos_count(chaos, session, CHAOS_DELAY);
	if (chaos->delay != NULL)
		chaos->delay->end = ACT_DONE;
	chaos_list(&chaos->late, session);
	return true;
}

static void
chaos_opened(Session *session)
{
	Chaos	   *chaos = session->login->chaos;

	if (chaos->clock != NULL)
		chaos_list(&chaos->open, session);
}

static const LoginHooks chaos_hooks = {
	.before_connect = chaos_before_connect,
	.opened = chaos_opened,
	.closed = chaos_leave,
};

/* ---------- Acts ---------- */

static void
chaos_draw(Chaos *chaos)
{
	ChaosAct   *next = &chaos->next;

	next->at_us += (uint64) (random_exponential(&chaos->prng) / chaos->rate * 1e6);
	next->kind = (ChaosKind) pg_prng_uint64_range(&chaos->prng, 0, CHAOS_KINDS - 1);
	next->pick = pg_prng_double(&chaos->prng);
	next->extent = pg_prng_double(&chaos->prng);
	alarm_set(chaos->clock, &chaos->alarm, chaos->begun_us + next->at_us);
}

/* The open session that an act affects, NULL if there is none. */
static Session *
chaos_pick(Chaos *chaos, double pick)
{
	int			n = 0;
	dlist_iter	iter;

	dlist_foreach(iter, &chaos->open)
		n++;
	n = (int) (pick * n);
	dlist_foreach(iter, &chaos->open)
		if (n-- == 0)
			return dlist_container(Session, hook_node, iter.cur);
	return NULL;
}

/*
 * The pid is what the server said at the login, and may be another's by now:
 * only the server's own memory shows that it is still a session of that role.
 */
static bool
session_terminate(const Session *session)
{
	int			pid = PQbackendPID(session->conn);
	Oid			role = session->login->role;

	return OidIsValid(role) && census_has_session(role, pid) && kill(pid, SIGTERM) == 0;
}

/*
 * Ends a session, and its stall first, so that its owner learns of the end at
 * once.  No other act affects it from then on.
 */
static bool
chaos_end_session(Chaos *chaos, Session *session, ChaosKind kind)
{
	if (session->pause.set)
		session_resume(session);
	if (session->state != SESSION_OPEN)
		return false;
	if (kind == CHAOS_DROP)
		session_drop(session);
	else if (!session_terminate(session))
		return false;
	dlist_delete(&session->hook_node);
	dlist_push_tail(&chaos->ended, &session->hook_node);
	chaos_count(chaos, session, kind);
	return true;
}

/* One that is stalled already must read before it can be stalled again. */
static bool
chaos_stall(Chaos *chaos, Session *session)
{
	if (session->pause.set)
		return false;
	chaos_pause(session, extent_us(chaos->next.extent, STALL_MIN_MS, STALL_MAX_MS));
	session_pause(session);
	chaos_count(chaos, session, CHAOS_STALL);
	return true;
}

/* The next connect will be late; the act is done when that comes. */
static bool
chaos_delay(Chaos *chaos, ChaosAct *listed)
{
	if (chaos->delay_us == 0)
	{
		chaos->delay_us = extent_us(chaos->next.extent, DELAY_MIN_MS, DELAY_MAX_MS);
		chaos->delay = listed;
	}
	return false;
}

static bool
chaos_act(Chaos *chaos, ChaosAct *listed)
{
	const ChaosAct *act = &chaos->next;
	Session    *session = chaos_pick(chaos, act->pick);

	if (act->kind == CHAOS_DELAY)
		return chaos_delay(chaos, listed);
	if (session == NULL)
		return false;
	if (act->kind == CHAOS_STALL)
		return chaos_stall(chaos, session);
	return chaos_end_session(chaos, session, act->kind);
}

/* The next act is due: it happens, if it may and can, and one more is drawn. */
static void
chaos_rung(Alarm *alarm)
{
	Chaos	   *chaos = alarm->owner;
	ChaosAct   *next = &chaos->next;
	ChaosAct   *listed = NULL;

	chaos->drawn++;
	if (chaos->nacts < CHAOS_ACTS_MAX)
	{
		listed = &chaos->acts[chaos->nacts++];
		*listed = *next;
	}
	if ((chaos->kinds & (1 << next->kind)) == 0)
		next->end = ACT_WITHHELD;
	else
		next->end = chaos_act(chaos, listed) ? ACT_DONE : ACT_MISSED;
	if (listed != NULL)
		listed->end = next->end;
	chaos_draw(chaos);
}

/*
 * Begins to disturb the sessions whose logins name this chaos, so many times a
 * second on average; everything may happen.  The list of acts lives in the
 * current memory context, which must outlive the loop.
 */
void
chaos_begin(Chaos *chaos, AlarmClock *clock, double rate, int64 seed)
{
	Assert(rate > 0);
	memset(chaos, 0, sizeof(*chaos));
	dlist_init(&chaos->late);
	dlist_init(&chaos->open);
	dlist_init(&chaos->ended);
	chaos->acts = palloc(sizeof(ChaosAct) * CHAOS_ACTS_MAX);
	chaos->rate = rate;
	chaos->kinds = CHAOS_ALL;
	chaos->alarm.ring = chaos_rung;
	chaos->alarm.owner = chaos;
	random_stream(&chaos->prng, seed, RANDOM_CHAOS);
	chaos->clock = clock;
	chaos->begun_us = loop_now_us();
	chaos_draw(chaos);
}

static Session *
first_stalled(Chaos *chaos)
{
	dlist_iter	iter;

	dlist_foreach(iter, &chaos->open)
	{
		Session    *session = dlist_container(Session, hook_node, iter.cur);

		if (session->pause.set)
			return session;
	}
	return NULL;
}

/*
 * From now on only acts of these kinds happen, a set of 1 << ChaosKind; stalls
 * and delays of other kinds that are under way end now.
 */
void
chaos_allow(Chaos *chaos, int kinds)
{
	Session    *session;

	if (chaos->clock == NULL)
		return;
	chaos->kinds = kinds;
	if ((kinds & (1 << CHAOS_DELAY)) == 0)
	{
		chaos->delay_us = 0;
		while (!dlist_is_empty(&chaos->late))
			session_resume(dlist_head_element(Session, hook_node, &chaos->late));
	}
	/* What a session reads then may end others, so each search begins anew. */
	while ((kinds & (1 << CHAOS_STALL)) == 0 && (session = first_stalled(chaos)) != NULL)
		session_resume(session);
}

/* Nothing happens any more.  May be called twice, and without a begin. */
void
chaos_end(Chaos *chaos)
{
	chaos_allow(chaos, CHAOS_NONE);
	if (chaos->clock != NULL)
		alarm_unset(chaos->clock, &chaos->alarm);
}

/*
 * From now on sessions that are opened with this login are disturbed, once the
 * chaos has begun, and what is done to them is counted in "counts".  "role" is the
 * one that it leads to on this server; with InvalidOid, elsewhere, none is
 * terminated.
 */
void
chaos_concern(Chaos *chaos, Login *login, Oid role, ChaosCounts *counts)
{
	foreach_login(each, login)
	{
		each->hooks = &chaos_hooks;
		each->chaos = chaos;
		each->role = role;
		each->chaos_counts = counts;
	}
}

/* Returns how many acts there were. */
uint64
chaos_acts_done(const ChaosCounts *counts)
{
	uint64		sum = 0;

	for (int i = 0; i < CHAOS_KINDS; i++)
		sum += counts->done[i];
	return sum;
}

/* Returns how many sessions were ended. */
uint64
chaos_sessions_ended(const ChaosCounts *counts)
{
	return counts->done[CHAOS_TERMINATE] + counts->done[CHAOS_DROP];
}

/* Returns for how long, in ms, a request may have had to wait for a session of these. */
int
chaos_wait_ms(const ChaosCounts *counts)
{
	return (counts->done[CHAOS_STALL] > 0 ? STALL_MAX_MS : 0) +
		(counts->done[CHAOS_DELAY] > 0 ? DELAY_MAX_MS : 0);
}
