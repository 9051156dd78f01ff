/*
 * facts.h
 *		What explanations are judged by: all that is known of a moment, read once.
 *
 * Of this moment it is read from shared memory, in the monitor or in any backend, and needs
 * neither a catalog nor a transaction; of a past one from what was recorded.
 */
#pragma once

#include "observe/monitor/leak_detector.h"
#include "observe/monitor/pools.h"
#include "observe/monitor/service.h"
#include "observe/monitor/timeline.h"
#include "observe/slots/census.h"

typedef struct Explanation Explanation;

/* A service: what it holds now. */
typedef struct HeldService
{
	ServiceKey	key;			/* must be first: the key of the table */
	const char *name;			/* ROLE/APPLICATION_NAME, printable; NULL until service_require_name() */
	const char *usename;		/* as it is in the catalog; NULL if it is not known, or not to be shown, or until then */
	bool		monitoring;		/* its role is to monitor; of those with more than two sessions */
	int			in_use;
	int			idle;
	int			alike;			/* services of its role with no more than two sessions */
} HeldService;

typedef struct SessionFacts SessionFacts;

/* What sessions wait behind for a lock: a process that waits for none itself. */
typedef struct LockRoot
{
	int			pid;			/* must be first: the key of the table; 0: prepared transactions, which are no process */
	const SessionFacts *session;	/* NULL: not one of a client, as that of a walsender */
	int			waiters;
	int64		longest_ms;		/* the longest of their waits */
	bool		several;		/* others than that one hold some of them up as well */
} LockRoot;

/*
 * The session in a slot.  Of a past moment, which has no single sessions, one stands for
 * each that was counted: what was not counted is not known.
 */
struct SessionFacts
{
	Slot		slot;
	HeldService *service;		/* NULL while it logs in; also of a suspect that may be of several */
	const LeakSession *watched; /* what the monitor remembers of it; NULL: nothing */
	LeakRule	rule;			/* that suspects it */
	bool		of_run;			/* of a run or hold of pool_exhaust */
	const RunEntry *run;		/* which, or NULL */
	bool		listens;
	Borrower	borrower;
	bool		pressed;		/* the server, or its role or database, has little left to hand out */
	int64		state_ms;		/* how long it has been in its state; a login: under way; below 0: not known */
	int64		age_ms;			/* since it logged in; of a past moment so many are as young at the least */
	const LockRoot *root;		/* what it waits behind, or what it is to others; NULL: neither, or not known */
	const Explanation *explained_by;	/* NULL: by nothing */
};

/*
 * Where names come from, and what is to be shown of them: a backend reads the catalogs,
 * and minds the rights of its caller; the monitor has what its last observation read.
 */
typedef struct FactsSource
{
	const List *limits;			/* as limits_read() returns them */
	/* Fills in name and usename; palloc'd. */
	void		(*name) (HeldService *service);
	bool		(*may_see) (Oid role);
	bool		(*monitors) (Oid role);
	bool		(*exempt) (Oid role);	/* from a CONNECTION LIMIT of a database; true also if that is not known */
} FactsSource;

/* For a source that cannot say it. */
extern bool facts_monitors_unknown(Oid role);
extern bool facts_exempt_unknown(Oid role);

/* How the server hands out slots: the last minute, in tens of seconds. */
#define FACTS_SLICES	6
#define FACTS_SLICE_S	10

typedef struct Facts
{
	TimestampTz now;
	uint64		now_us;
	bool		watched;		/* the monitor watches */
	TimestampTz blind_since;	/* the ledger is; of a past moment, in the minute before it; 0: it is not */
	const char *recorded;		/* what else was recorded, in sentences; NULL: it is of this moment */
	int64		run_id;			/* of a run on this server, if it was recorded; 0: none */
	Census		census;
	const FactsSource *source;
	const PoolRow *pools;		/* the server first */
	int			npools;
	List	   *pressed;		/* of const PoolRow: those with little left to hand out */
	TimelineSlice slices[FACTS_SLICES]; /* the latest comes last */
	SessionFacts *sessions;
	int			nsessions;		/* walsenders are not among them */
	HTAB	   *services;		/* of HeldService */
	HTAB	   *roots;			/* of LockRoot */
} Facts;

/* Services with no more sessions are small. */
#define SMALL_SERVICE	2

#define foreach_session(facts, session) \
	for (SessionFacts *session = (facts)->sessions; session < (facts)->sessions + (facts)->nsessions; session++)

extern Facts *facts_read(const FactsSource *source);

/* For other readers, in this order: pools come before sessions, and then services are compared. */
extern Facts *facts_begin(const FactsSource *source, int sessions_max);
extern void facts_set_pools(Facts *facts, const PoolRow *pools, int npools);
extern HeldService *facts_service(const Facts *facts, const ServiceKey *key);
extern bool facts_press(const Facts *facts, const Slot *slot);
extern void facts_compare_services(const Facts *facts);

extern bool pool_is_pressed(const PoolRow *pool);
extern int	facts_crowd(const Facts *facts);
extern uint64 facts_refused(const Facts *facts);
extern void service_require_name(const Facts *facts, HeldService *service);
extern char *seconds_text(int64 ms);
