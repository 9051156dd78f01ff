/*
 * leak_detector.c
 *		The sessions that are suspected of a leak: what the monitor reports
 *		to the leak rules, and what these found.
 *
 * The leak sessions stand in shared memory, by number of slot, so a monitor that is
 * started again knows what the one before it saw.  It suspects no session by that: it
 * observes, and judges what it sees.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/compat.h"
#include "base/text.h"
#include "event/loop.h"
#include "observe/monitor/leak_detector.h"
#include "observe/monitor/peer.h"
#include "observe/slots/borrower.h"
#include "observe/slots/census.h"
#include "shmem/monitor_status.h"

/*
 * An observation that comes later than that does not know what came and went in between; one that
 * comes later than a minute does not count on what was before.
 */
#define LATE_US(interval_ms)	(2 * INT64CONST(1000000) + 3 * (interval_ms) * INT64CONST(1000))
#define BLIND_US(interval_ms)	Max(60 * INT64CONST(1000000), LATE_US(interval_ms))

/* Time to check clients of sessions, in one observation; the next one goes on. */
#define PEERS_US	500

/* How often the lives of sessions are compared with the threshold. */
#define LIVES_US	(5 * INT64CONST(1000000))

#define LIVES_MIN	5			/* that must have ended to speak of a service */

int			leak_threshold = 30 * 1000;

/* Which session it was, and of which content of its status entry; pid 0: none, or that is not known. */
typedef struct NotedSlot
{
	int			pid;
	int			changes;
	TimestampTz started;
} NotedSlot;

/* What becomes of sessions beside what they do: the setting, and the runs and holds. */
typedef struct Thresholds
{
	int			setting;
	Oid			roles[RUNS_MAX][RUN_PARTIES_MAX];
	uint32		of_runs[RUNS_MAX];
} Thresholds;

static LeakWatch watch;			/* of the monitor */
static bool *gone;				/* by slot: its client has */
static bool *lost;				/* by slot: the connection was in no table at the last observation */
static bool *tracked;			/* by slot: there was a session, or that is not known */
static NotedSlot *noted;		/* by slot: what was noted last */
static int	peer_next;			/* slot with the next client to be checked */
static uint64 lives_us;

void
leak_detector_gucs_init(void)
{
	DefineCustomIntVariable("pool_exhaust.leak_threshold",
							"A session that is held for longer than that may be suspected of a leak.",
							NULL,
							&leak_threshold, 30 * 1000, 100, 24 * 3600 * 1000,
							PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
}

/* To be called once in the monitor. */
void
leak_detector_init(void)
{
	watch.nslots = MaxConnections;
	watch.growth_min = leak_growth_min(MaxConnections);
	watch.sessions = leak_sessions;
	watch.counts = shared->observed.leaks;
	watch.ngroups = leak_groups_max(MaxConnections);
	watch.groups = leak_groups;
	gone = MemoryContextAllocZero(TopMemoryContext, MaxConnections * sizeof(bool));
	lost = MemoryContextAllocZero(TopMemoryContext, MaxConnections * sizeof(bool));
	tracked = MemoryContextAlloc(TopMemoryContext, MaxConnections * sizeof(bool));
	memset(tracked, true, MaxConnections * sizeof(bool));
	noted = MemoryContextAllocZero(TopMemoryContext, MaxConnections * sizeof(NotedSlot));
	watch.noted = MemoryContextAllocZero(TopMemoryContext, sizeof(LeakNoted) * watch.nslots);
	watch.group_of = MemoryContextAllocZero(TopMemoryContext, sizeof(int) * watch.nslots);
	watch.starts = MemoryContextAllocZero(TopMemoryContext, sizeof(uint64) * 2 * watch.nslots);
	watch.losses = MemoryContextAllocZero(TopMemoryContext, sizeof(LeftSession) * watch.nslots);
	watch.openings = MemoryContextAllocZero(TopMemoryContext, sizeof(LeakOpening) * watch.nslots);
	LWLockAcquire(shared->observe_lock, LW_EXCLUSIVE);
	watch.observed_us = shared->observed.leaks_observed_us;
	watch.number = shared->observed.leaks_number;
	leak_forget(&watch);
	LWLockRelease(shared->observe_lock);
}

/* Returns the run or hold that the session is of, or NULL.  Takes no lock. */
RunEntry *
slot_run(const Slot *slot)
{
	for (int i = 0; i < RUNS_MAX * RUN_PARTIES_MAX && OidIsValid(slot->role); i++)
	{
		RunEntry   *run = &shared->runs[i / RUN_PARTIES_MAX];

		if (((volatile RunEntry *) run)->roles[i % RUN_PARTIES_MAX] == slot->role)
			return run;
	}
	return NULL;
}

/* From when on a session of that run, or of none, may be suspected; 0: never. */
static int
threshold_of(const RunEntry *run)
{
	uint32		threshold_ms = LEAK_THRESHOLD_SETTING;

	if (run != NULL)
		threshold_ms = pg_atomic_read_u32(unconstify(pg_atomic_uint32 *, &run->leak_threshold_ms));
	return threshold_ms == LEAK_THRESHOLD_SETTING ? leak_threshold : (int) threshold_ms;
}

/* The same for all sessions that could share a pool. */
static uint64
slot_service(const Slot *slot)
{
	uint64		name = hash_bytes_extended((const unsigned char *) slot->application_name,
										   strlen(slot->application_name), slot->role);

	return hash_combine64(name, ((uint64) slot->database << 32) | slot->client);
}

/* Is that the session in the slot? */
static bool
session_is_in(const LeakSession *session, const Slot *slot)
{
	return session->seen.pid == slot->pid && session->seen.started == slot->started;
}

/* A session that is active: by the monotonic clock, as the observation before saw it. */
static bool
runs_too_long(int number, const Slot *slot, uint64 now_us)
{
	const LeakSession *session = &leak_sessions[number];
	int			threshold_ms;

	if (!session_is_in(session, slot) || session->seen.state_since != slot->state_since)
		return false;
	threshold_ms = threshold_of(slot_run(slot));
	return threshold_ms > 0 && leak_held_us(session, now_us) >= threshold_ms * UINT64CONST(1000);
}

/*
 * Checks the clients of sessions that have run a statement for too long, as
 * many as there is time for; the next observation goes on with the others.  Needs no
 * lock, and is not to be called with one: it asks the kernel.
 */
void
leak_detector_read_clients(const Slot *slots)
{
	uint64		now_us = loop_now_us();
	int			first = peer_next;
	bool		late = false;

	peers_begin();
	for (int n = 0; n < MaxConnections; n++)
	{
		int			i = (first + n) % MaxConnections;
		PeerState	peer;

		if (slots[i].pid == 0 || slots[i].state != SLOT_ACTIVE)
		{
			gone[i] = false;
			lost[i] &= late;
			continue;
		}
		/* A client that has gone does not come back. */
		gone[i] = leak_sessions[i].seen.client_gone && session_is_in(&leak_sessions[i], &slots[i]);
		if (gone[i] || late || !runs_too_long(i, &slots[i], now_us))
		{
			lost[i] &= late;
			continue;
		}
		peer = peer_read(slots[i].pid, slots[i].local);
		gone[i] = peer == PEER_GONE || (peer == PEER_LOST && lost[i]);
		lost[i] = peer == PEER_LOST || (peer == PEER_UNKNOWN && lost[i]);
		peer_next = (i + 1) % MaxConnections;
		late = loop_now_us() > now_us + PEERS_US;
	}
}

/* What only the session itself changes, and not without a change of its status entry. */
static LeakObservation
slot_observe(int number, const Slot *slot)
{
	LeakObservation observation = {
		.pid = slot->pid,
		.started = slot->started,
		.role = slot->role,
		.state_since = slot->state_since,
		.state = slot->state,
		.aborted = slot->aborted,
		.has_idle_reason = slot->pid != 0 && slot_has_idle_reason(number, slot),
	};

	borrower_read(number, slot, &observation.borrower);
	return observation;
}

/* Is all of that as it was noted last?  Then it is not read again: that is most of the work. */
static bool
slot_is_as_noted(int number, const Slot *slot)
{
	return slot->started != 0 && noted[number].pid == slot->pid && noted[number].started == slot->started &&
		noted[number].changes == slot->changes;
}

/* Are the thresholds of all sessions that do nothing as they were? */
static bool
thresholds_stand(void)
{
	static Thresholds before;
	Thresholds	now;
	bool		stand;

	memset(&now, 0, sizeof(now));
	now.setting = leak_threshold;
	for (int i = 0; i < RUNS_MAX; i++)
	{
		for (int party = 0; party < RUN_PARTIES_MAX; party++)
			now.roles[i][party] = ((volatile RunEntry *) &shared->runs[i])->roles[party];
		now.of_runs[i] = pg_atomic_read_u32(&shared->runs[i].leak_threshold_ms);
	}
	stand = memcmp(&now, &before, sizeof(now)) == 0;
	before = now;
	return stand;
}

/*
 * The same, and nothing else has to be found out: a client that has gone, or a snapshot that
 * keeps a session from being suspected.
 */
static bool
slot_is_same(int number, const Slot *slot)
{
	const LeakSession *session = &leak_sessions[number];

	return slot_is_as_noted(number, slot) &&
		(slot->state == SLOT_IDLE ||
		 (slot->state == SLOT_IDLE_IN_TRANSACTION && session->rule != LEAK_NONE && !session->seen.exports_snapshot));
}

static void
slot_note(int number, const Slot *slot, bool gone, TimestampTz now)
{
	const RunEntry *run = slot_run(slot);
	int			threshold_ms = slot->pid != 0 && slot->state != SLOT_AUTHENTICATING ? threshold_of(run) : 0;
	LeakObservation observation;

	/* So shows a session if its entry could not be read: ask again next time. */
	if (slot->pid != 0 && slot->state == SLOT_AUTHENTICATING && slot->pid == leak_sessions[number].seen.pid)
		return;
	if (threshold_ms <= 0)
	{
		leak_note(&watch, number, NULL, now);
		noted[number].pid = 0;
		return;
	}
	observation = slot_is_as_noted(number, slot) ? leak_sessions[number].seen : slot_observe(number, slot);
	noted[number] = (NotedSlot) {slot->pid, slot->changes, slot->started};
	observation.client_gone = gone && slot->state == SLOT_ACTIVE;
	observation.of_one_pool = run != NULL;
	observation.exports_snapshot = false;
	observation.threshold_ms = threshold_ms;
	if (observation.service == 0)
		observation.service = slot_service(slot);
	/* That reads a directory: only when it matters. */
	if (slot->state == SLOT_IDLE_IN_TRANSACTION && leak_sessions[number].rule == LEAK_NONE &&
		now - slot->state_since > observation.threshold_ms * INT64CONST(1000))
		observation.exports_snapshot = slot_exports_snapshot(number);
	leak_note(&watch, number, &observation, now);
}

/* Sessions of how many services are too short-lived to be suspected? */
static void
lives_note(uint64 now_us)
{
	LeakLimits *limits = &shared->observed.leak_limits;

	if (now_us < lives_us + LIVES_US)
		return;
	lives_us = now_us;
	limits->short_services = limits->short_life_ms = 0;
	for (int i = 0; i < watch.ngroups; i++)
	{
		const LeakGroup *group = &watch.groups[i];
		int			life_ms = (int) Min(group->longest_us / 1000, INT_MAX);

		if (!group->taken || group->ended < LIVES_MIN || life_ms >= leak_threshold)
			continue;
		limits->short_services++;
		limits->short_life_ms = Max(limits->short_life_ms, life_ms);
	}
}

/* How long was there no observation? */
static LeakGap
gap_before(uint64 now_us)
{
	if (watch.observed_us == 0 || now_us > watch.observed_us + BLIND_US(sample_interval))
		return LEAK_BLIND;
	return now_us > watch.observed_us + LATE_US(sample_interval) ? LEAK_LATE : LEAK_ON_TIME;
}

/*
 * Takes an observation into account, MaxConnections slots, and judges.  Needs the lock,
 * and leak_detector_read_clients() before.
 */
void
leak_detector_observe(const Slot *slots)
{
	TimestampTz now = GetCurrentTimestamp();
	uint64		now_us = loop_now_us();
	bool		thresholds = thresholds_stand();
	int			blind_sessions = 0;

	leak_observation_begin(&watch, now_us, gap_before(now_us));
	for (int i = 0; i < MaxConnections; i++)
	{
		if (slots[i].pid == 0 && !tracked[i])
			continue;
		if (thresholds && slot_is_same(i, &slots[i]))
		{
			leak_note_same(&watch, i, slots[i].state == SLOT_IDLE);
			continue;
		}
		slot_note(i, &slots[i], gone[i], now);
		tracked[i] = leak_sessions[i].seen.pid != 0;
		blind_sessions += slots[i].pid != 0 && slots[i].state == SLOT_UNKNOWN;
	}
	leak_judge(&watch);
	shared->observed.leaks_observed_us = now_us;
	shared->observed.leaks_number = watch.number;
	shared->observed.leak_limits.client_errno = peer_errno();
	shared->observed.leak_limits.blind_sessions = blind_sessions;
	lives_note(now_us);
}

/* Notes the settings of the server that keep leaks from getting old. */
void
leak_detector_note_limits(void)
{
	LeakLimits *limits = &shared->observed.leak_limits;

	LWLockAcquire(shared->observe_lock, LW_EXCLUSIVE);
	limits->idle_in_transaction_ms = IdleInTransactionSessionTimeout;
	limits->transaction_ms = TransactionTimeout;
	limits->idle_ms = IdleSessionTimeout;
	limits->client_check_ms = client_connection_check_interval;
	limits->blind = !pgstat_track_activities;
	LWLockRelease(shared->observe_lock);
}

/*
 * Returns by which rule the session in the slot is suspected, or LEAK_NONE.  Takes
 * no lock; a caller that has to be sure does.
 */
LeakRule
suspect_rule(int number, const Slot *slot)
{
	const LeakSession *session = &leak_sessions[number];

	return session_is_in(session, slot) ? session->rule : LEAK_NONE;
}

/* Returns how the session in the slot is used, as far as that was seen.  Takes no lock. */
SessionUse
session_use(int number, const Slot *slot)
{
	const LeakSession *session = &leak_sessions[number];

	if (!session_is_in(session, slot))
		return (SessionUse) {0};
	return (SessionUse) {leak_used_once(session), leak_groups[session->group].rested_us};
}

/* Reads the slot of a suspect; false if that is none, or its session is not there any more. */
bool
suspect_read(int number, const LeakSession *session, Slot *slot)
{
	return session->rule != LEAK_NONE && slot_read(number, slot) && session_is_in(session, slot);
}

/*
 * Writes why the session is suspected, which it is, in LEAK_EVIDENCE_LEN bytes, and fit to
 * be shown here: that may not be the encoding in which its borrower was named.
 */
void
suspect_evidence(const LeakSession *session, uint64 now_us, char *text)
{
	leak_evidence(session, now_us, text);
	text_make_printable(text);
}

/*
 * Finds the suspects among the sessions of these roles; returns how many there
 * are, and the first "max" of them in "suspects".
 */
int
suspects_of(const Oid *roles, int nroles, Suspect *suspects, int max)
{
	int			n = 0;

	LWLockAcquire(shared->observe_lock, LW_SHARED);
	for (int i = 0; i < MaxConnections; i++)
	{
		const LeakSession *session = &leak_sessions[i];

		if (session->rule == LEAK_NONE || !role_is_one_of(session->seen.role, roles, nroles))
			continue;
		if (n < max)
			suspects[n] = (Suspect) {session->seen.pid, session->rule, session->suspected_us - session->since_us};
		n++;
	}
	LWLockRelease(shared->observe_lock);
	return n;
}

LeakSession *
leak_sessions_copy(bool *fresh)
{
	Size		size = sizeof(LeakSession) * MaxConnections;
	LeakSession *sessions = palloc_extended(size, MCXT_ALLOC_HUGE);

	LWLockAcquire(shared->observe_lock, LW_SHARED);
	memcpy(sessions, leak_sessions, size);
	*fresh = monitor_is_fresh();
	LWLockRelease(shared->observe_lock);
	return sessions;
}

/* Counters begin anew, with the sessions that are suspected now.  Needs the lock. */
void
leak_detector_reset(void)
{
	LeakCounts *counts = shared->observed.leaks;

	for (LeakRule rule = LEAK_NONE + 1; rule < LEAK_RULES; rule++)
		counts[rule] = (LeakCounts) {.found = leak_suspects(&counts[rule])};
}
