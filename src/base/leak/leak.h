/*
 * leak.h
 *		The leak rules: which sessions will not be released any more.
 *
 * Rules judge what sessions do, one observation after the other, and nothing else:
 * no shared memory, no catalog, no allocation.  The caller has the memory and
 * keeps other processes from it meanwhile.
 *
 * observation	what all sessions do at one moment
 * threshold	a session held for longer than that may be a leak
 * held			in the state that a rule judges, without a change
 * service		sessions that could share a pool; a group is what is remembered of one
 * newer		opened after this session
 * kept in use	used again after it was idle, LEAK_USES_MIN times at least
 * forgotten	opened, used once, and not since
 * left			used again and again, as one of a pool, and then not any more
 * suspected	a rule holds for it; cleared when it is used again
 * healed		terminated by the healer while it was suspected
 * borrowed		its client has said what has it, and has not taken that back
 */
#pragma once

#include "datatype/timestamp.h"

#include "base/borrower.h"
#include "base/slot_state.h"
#include "base/words.h"

/*
 * The rules, in the order in which they are tried.  RULE(member, row): all that it is
 * stands in its row, leak_rule_<row>, in base/leak/<row>.c.
 */
#define LEAK_RULE_LIST(RULE) \
	RULE(LEAK_BORROWED, borrowed) \
	RULE(LEAK_IDLE_IN_TRANSACTION, idle_in_transaction) \
	RULE(LEAK_ABANDONED, abandoned) \
	RULE(LEAK_GROWTH, growth) \
	RULE(LEAK_DEAD_CLIENT, dead_client)

typedef enum LeakRule
{
	LEAK_NONE,
	LEAK_RULE_LIST(LIST_MEMBER)
} LeakRule;

#define LEAK_RULES (1 + LIST_COUNT(LEAK_RULE_LIST))

/*
 * How certain it is that what a rule suspects is a leak, the most certain first: its
 * client has said so, or has gone; it is what leaks are, as a rule; it looks like one.
 */
#define LEAK_CERTAINTY_LIST(ROW) \
	ROW(LEAK_CERTAIN, "certain") \
	ROW(LEAK_LIKELY, "likely") \
	ROW(LEAK_POSSIBLE, "possible")

typedef enum LeakCertainty
{
	LEAK_CERTAINTY_LIST(LIST_MEMBER)
} LeakCertainty;

#define LEAK_CERTAINTIES LIST_COUNT(LEAK_CERTAINTY_LIST)

extern const char *const leak_certainty_names[LEAK_CERTAINTIES];

/* What one observation says of the session in a slot. */
typedef struct LeakObservation
{
	int			pid;
	TimestampTz started;		/* with pid: which session this is */
	Oid			role;
	TimestampTz state_since;
	SlotState	state;
	bool		aborted;		/* of a transaction that is idle */
	bool		has_idle_reason;	/* it is idle because it waits for something, or holds it */
	bool		exports_snapshot;	/* it is idle in a transaction whose snapshot others use */
	bool		of_one_pool;	/* its service is one pool, for certain */
	bool		client_gone;
	Borrower	borrower;
	uint64		service;		/* the same for those that could share a pool */
	int			threshold_ms;	/* held for longer than that it may be a leak */
} LeakObservation;

/* How a service has lost a session that is abandoned. */
typedef enum LeakLoss
{
	LEAK_LEFT_BEHIND,			/* the others are newer ones that it keeps in use */
	LEAK_REPLACED,				/* ... were lost one by one and replaced, this one, too */
	LEAK_VANISHED,				/* ... were left by a client that vanished, this one, too */
} LeakLoss;

/* Why a session is suspected, in numbers. */
typedef struct LeakEvidence
{
	int			threshold_ms;
	int			sessions_then;	/* of its service, when it was used last */
	int			sessions_now;
	int			others;			/* newer ones kept in use; or forgotten like it */
	int			span_ms;		/* in which those were opened; or left; or nothing was done then */
	LeakLoss	loss;			/* what the others are */
} LeakEvidence;

/*
 * What is remembered of the session in a slot.  Moments in microseconds are
 * monotonic; those of the server's clock only distinguish one state from the next.
 */
typedef struct LeakSession
{
	LeakObservation seen;		/* what was seen last; pid 0: none was seen there */
	bool		needless;		/* opened while one lay idle that was used later */
	uint64		started_us;
	uint64		since_us;		/* of the state */
	uint64		borrowed_us;	/* since when it has the borrower that was seen last */
	uint64		active_us;		/* of its group, when it was used last */
	int			uses;			/* times that it was used again after it was idle */
	int			observations;	/* of it, up to number "seen_at", and those that found it busy */
	int			busy_observations;
	int			sessions_then;	/* of its service, when it was used last */
	int			all_then;		/* those too that it has forgotten or lost */
	bool		outlived;		/* one that was there then has been used long after it */

	/* Of the observation that it was judged in last. */
	uint64		seen_at;		/* its number */
	bool		fresh;			/* seen for the first time */
	bool		moved;			/* has done something since the observation before */
	int			group;
	int			next;			/* of its group, -1 = the last one */
	int			next_fresh;

	/* The suspicion. */
	LeakRule	rule;			/* LEAK_NONE: not suspected */
	LeakRule	counted;		/* found by this rule, and not cleared yet */
	uint64		suspected_us;
	LeakEvidence evidence;
	uint64		healed_us;		/* when it was terminated; 0 = it was not */
} LeakSession;

/* Sessions that could share a pool: what is remembered, and what an observation adds up. */
typedef struct LeakGroup
{
	bool		taken;
	uint64		service;
	uint64		watched_us;		/* since then without a gap */
	uint64		active_us;		/* time in which any of its sessions was in use */
	uint64		reused_us;		/* the most of it that one lay idle, and was used again */
	uint64		closed_us;		/* ... and was closed */
	uint64		rested_us;		/* the longest that one lay idle, and was used again; in all time */
	int			ended;			/* sessions that were kept in use, and have ended */
	uint64		longest_us;		/* life of such a session */
	uint64		used_us;		/* when one was in use last */
	uint64		paused_us;		/* the last pause that ended with a new session: from ... */
	uint64		resumed_us;		/* ... to; 0 = there was none */

	uint64		observed_us;	/* the observation that the rest is of: the last one in which it was judged */
	uint64		wake_us;		/* until then what time alone changes for its sessions is not judged */
	int			first;			/* its sessions, linked by next */
	int			first_fresh;
	int			fresh;			/* how many those are */
	int			newest;			/* the one that was opened last */
	uint64		was_idle_us;	/* the earliest since when one lay idle that was used now */
	uint64		oldest_used_us; /* when the oldest was opened that was used now */
	bool		active;
	bool		names_borrowers;	/* one of its sessions does, or did */
	int			sessions;
	int			closed;			/* since the observation before */
	uint64		closing_us;		/* the most active time for which one of those lay idle */
	int			idle;			/* for half the threshold, and not suspected */
	int			forgotten;		/* opened, used once, and not since */
	int			lost;			/* others that are abandoned */
	int			keepers;		/* sessions that it keeps in use */
	int			working;		/* the same, and those that it opened needlessly */
	int			left;			/* that worked, and then were left */

	/* Where it stands when these were opened, the newest first; -1 = not worked out yet. */
	int			keepers_at;
	int			forgotten_at;
	int			grown;			/* of the forgotten ones, the last that came one after another ... */
	int			growth;			/* ... and how many of those count */
	int			replaced;		/* those that it lost one by one; -1 = not worked out yet */
	uint64		replaced_since_us;	/* when the first of these was left, and the last one opened since */
	uint64		replaced_until_us;
	int			vanished;		/* those that a client left that vanished; -1 = not worked out yet */
} LeakGroup;

/* A session that was left: what replaced.c works with. */
typedef struct LeftSession
{
	uint64		left_us;
	int			all_then;
	int			occasion;
	int			for_want;		/* occasions so far before which one was opened for want of a session */
} LeftSession;

/* A session that was opened, likewise. */
typedef struct LeakOpening
{
	uint64		at_us;
	bool		needless;
} LeakOpening;

/* How many suspicions came to which end. */
typedef struct LeakCounts
{
	uint64		found;
	uint64		unleaked;		/* came back to life */
	uint64		ended;			/* went by themselves */
	uint64		healed;
} LeakCounts;

/* Those that came to none yet. */
static inline uint64
leak_suspects(const LeakCounts *counts)
{
	return counts->found - counts->unleaked - counts->ended - counts->healed;
}

/* A session that was noted in an observation. */
typedef struct LeakNoted
{
	int			number;			/* of its slot */
	bool		same;			/* idle, and as the observation before saw it */
} LeakNoted;

/* The memory that the rules need, and nothing in it that the caller must fill in. */
typedef struct LeakWatch
{
	int			nslots;
	int			growth_min;		/* forgotten sessions that are a growth */
	LeakSession *sessions;		/* nslots of them */
	int		   *group_of;		/* by slot: the group of the session in it, for those that are not judged */
	LeakNoted  *noted;			/* those of this observation, nnoted of nslots; then those of them that are judged */
	int			nnoted;
	LeakCounts *counts;			/* LEAK_RULES of them */
	int			ngroups;		/* leak_groups_max() */
	int			taken;			/* groups that are */
	LeakGroup  *groups;
	uint64	   *starts;			/* twice nslots of them */
	int			nstarts;
	LeftSession *losses;		/* nslots of each of these two */
	LeakOpening *openings;
	uint64		number;			/* of this observation */
	uint64		observed_us;	/* this observation; 0 = none yet */
	uint64		before_us;		/* the observation before; 0 = what happened since is not known */
	bool		late;			/* ... or only by what is there still */
	bool		judges_all;		/* and not only the groups in which something may have changed */
} LeakWatch;

/* How long there was no observation. */
typedef enum LeakGap
{
	LEAK_ON_TIME,
	LEAK_LATE,					/* so long that sessions may have come, been used, and gone */
	LEAK_BLIND,					/* so long that what was before is no evidence */
} LeakGap;

/* Time alone may change from then on how sessions of the group are judged. */
static inline void
leak_group_wake_at(LeakGroup *group, uint64 at_us)
{
	group->wake_us = Min(group->wake_us, at_us);
}

/* Those that are judged in this observation: a session that is ending is not. */
#define foreach_leak_session(watch, i) \
	for (int noted_ = 0, i; noted_ < (watch)->nnoted && ((i = (watch)->noted[noted_].number), true); noted_++)

/* What was left for so many thresholds is no instance that is drained: none takes as long. */
#define LEAK_DRAIN_FACTOR	10

/* One that was not used for longer than so many thresholds is not in use. */
#define LEAK_IN_USE_FACTOR	2

/* One that was used again so often is one of a pool. */
#define LEAK_USES_MIN	3

/* Later than any moment, with some room to add. */
#define LEAK_NEVER_US	(PG_UINT64_MAX / 2)

/* One observation: begin, note each slot in one way or the other, judge. */
extern void leak_observation_begin(LeakWatch *watch, uint64 now_us, LeakGap gap);
extern void leak_note(LeakWatch *watch, int number, const LeakObservation *observation, TimestampTz now);
extern void leak_note_same(LeakWatch *watch, int number, bool idle);
extern void leak_judge(LeakWatch *watch);

/* What is remembered: see leak_session.c. */
extern uint64 leak_held_us(const LeakSession *session, uint64 now_us);
extern bool leak_has_rested(const LeakGroup *group, const LeakSession *session, uint64 before_us);
extern void leak_clear(LeakWatch *watch, LeakSession *session, bool alive);
extern void leak_groups_wake(LeakWatch *watch);
extern void leak_forget(LeakWatch *watch);
extern int	leak_groups_max(int nslots);

extern int	leak_growth_min(int nslots);
extern int	leak_growth_spacing_ms(int threshold_ms);

/* ---------- Rules ---------- */

/* What keeps rules from ever being broken. */
typedef struct LeakLimits
{
	int			idle_in_transaction_ms; /* settings of the server; 0 = none */
	int			transaction_ms;
	int			idle_ms;
	int			client_check_ms;
	bool		blind;			/* track_activities is off: it is not known what sessions do */
	int			blind_sessions; /* the same, for so many of them */
	int			client_errno;	/* why it cannot be seen whether a client has gone */
	int			short_services; /* those with no session that lives as long as the threshold */
	int			short_life_ms;	/* and how long theirs live at the most */
} LeakLimits;

/* Bytes of the texts that rules write. */
#define LEAK_EVIDENCE_LEN	256
#define LEAK_NOTE_LEN		256

/* A rule.  Its functions write texts of one sentence; none of them throws. */
typedef struct LeakRuleType
{
	const char *name;
	SlotState	state;			/* that its suspects are in, most of them */

	LeakCertainty certainty;	/* of what it suspects ... */
	bool		failed_is_certain;	/* ... but for transactions that have failed: their clients can only roll back */

	/*
	 * Whether the session, which is not suspected, breaks it; notes others and span_ms of the
	 * evidence.  While nothing happens in a group its sessions are not judged: where time alone
	 * changes the answer, that must be at one of the moments of changes_us() in leak.c, or
	 * be said by leak_group_wake_at().
	 */
	bool		(*judge) (LeakWatch *watch, LeakSession *session);

	/* Whether a session that it suspects, and that was not used since, stays suspected; NULL: it does. */
	bool		(*lasts) (const LeakWatch *watch, const LeakSession *session);

	/*
	 * It judges by what the service does with its other sessions.  A service that says
	 * itself which of them it has released needs no such guess.
	 */
	bool		by_service;

	/* What it suspects is lost to its service, as what is forgotten. */
	bool		lost;

	/* Why a session is suspected, which has been held so long, in LEAK_EVIDENCE_LEN bytes. */
	void		(*evidence) (const LeakSession *session, double held_s, char *text);

	/* What keeps it from firing, in LEAK_NOTE_LEN bytes; false if nothing does. */
	bool		(*note) (const LeakLimits *limits, int threshold_ms, char *text);
} LeakRuleType;

#define LEAK_RULE_DECLARE(member, row)	extern const LeakRuleType leak_rule_##row;
LEAK_RULE_LIST(LEAK_RULE_DECLARE)
#undef LEAK_RULE_DECLARE

/* All of them, by LeakRule; none for LEAK_NONE. */
extern const LeakRuleType *const leak_rules[LEAK_RULES];

extern LeakCertainty leak_certainty(const LeakSession *session);
extern void leak_evidence(const LeakSession *session, uint64 now_us, char *text);
extern bool leak_rule_note(LeakRule rule, const LeakLimits *limits, int threshold_ms, char *text);

/* What rules ask of a session: see leak.c. */
extern bool leak_held_too_long(const LeakWatch *watch, const LeakSession *session);
extern bool leak_lies_idle(const LeakWatch *watch, const LeakSession *session);
extern bool leak_used_once(const LeakSession *session);
extern bool leak_is_forgotten(const LeakWatch *watch, const LeakSession *session);
extern bool leak_is_in_use(const LeakWatch *watch, const LeakSession *session);
extern bool leak_is_kept_in_use(const LeakWatch *watch, const LeakSession *session);
extern uint64 leak_used_us(const LeakWatch *watch, const LeakSession *session);
extern int	leak_sessions_alive(const LeakWatch *watch, const LeakGroup *group, const LeakSession *session);
extern int	leak_starts_sort(LeakWatch *watch, const LeakGroup *group,
							 bool (*is_one) (const LeakWatch *watch, const LeakSession *session), int *count);
extern bool leak_is_left(const LeakWatch *watch, const LeakSession *session);
extern bool leak_was_replaced(LeakWatch *watch, LeakSession *session);
extern void leak_note_pause(const LeakWatch *watch, LeakGroup *group, const LeakSession *session);
extern bool leak_has_vanished(LeakWatch *watch, const LeakSession *session);
extern bool leak_limit_note(const char *setting, int limit_ms, int threshold_ms, char *text);
