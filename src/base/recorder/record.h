/*
 * record.h
 *		What the flight recorder keeps of a second.
 *
 * A second is the time between two records: pool_exhaust.recorder_interval, one second
 * by default.  What is in use, and by which services, is that of its fullest moment; what is
 * counted is that of the whole second.
 *
 * Words are recorded by their places in their lists: SLOT_STATE_LIST, HEALTH_LIST,
 * SERVER_CAUSE_LIST, LEAK_RULE_LIST.  Members may be added at the end of these; for any
 * other change RECORDER_VERSION has to change, too.
 */
#pragma once

#include "datatype/timestamp.h"

#include "base/borrower.h"
#include "base/cause.h"
#include "base/health.h"
#include "base/leak/leak.h"
#include "base/slot_state.h"

#define RECORDED_SERVICES_MAX	64	/* services with a place of their own */
#define RECORDED_OTHERS			RECORDED_SERVICES_MAX	/* the place of all others together */
#define RECORDED_POOLS_MAX		64
#define RECORDED_BORROWERS_MAX	4	/* those that have most connections */
#define RECORDED_EVENTS_MAX		32	/* in one second; those that are more are lost */

/* What happened; "value" and "other" are what the comment says. */
#define RECORDED_EVENT_LIST(ROW) \
	ROW(EVENT_SERVER_STARTED, "server started")	/* and the recording went on */ \
	ROW(EVENT_MONITOR_STARTED, "monitor started")	/* in a server that went on */ \
	ROW(EVENT_RECORDER_ON, "recorder turned on") \
	ROW(EVENT_MOVED, "another server")	/* wrote what was before: another machine or data directory */ \
	ROW(EVENT_CLOCK_SET, "clock set")	/* milliseconds, forward if positive */ \
	ROW(EVENT_CAPACITY, "capacity changed")	/* capacity, and what it was */ \
	ROW(EVENT_LIMIT, "limit changed")	/* of the pool at place "place": capacity, and what it was */ \
	ROW(EVENT_HEALED, "session terminated by the healer")	/* of the service at "place": LeakRule, pid */ \
	ROW(EVENT_RESET, "statistics reset") \
	ROW(EVENT_NOT_WRITTEN, "seconds not written")	/* errno, seconds */ \
	ROW(EVENT_LEDGER_BLIND, "refusals not counted")	/* in this second, or a part of it: log_min_messages */

typedef enum RecordedEventType
{
	RECORDED_EVENT_LIST(LIST_MEMBER)
} RecordedEventType;

#define RECORDED_EVENT_TYPES LIST_COUNT(RECORDED_EVENT_LIST)

extern const char *const recorded_event_names[RECORDED_EVENT_TYPES];

typedef struct RecordedEvent
{
	int			type;			/* a RecordedEventType, or one of a newer version */
	int			place;			/* of a service or a pool; -1: of none */
	int64		value;
	int64		other;
} RecordedEvent;

/* A service, or what stands for it; names are printable ASCII. */
typedef struct RecordedService
{
	bool		taken;			/* or else there is none at this place */
	uint32		number;			/* as long as a monitor lives, the same for no other service */
	Oid			role;			/* InvalidOid: not known */
	char		usename[NAMEDATALEN];	/* empty, as the other, where names are kept out */
	char		application_name[NAMEDATALEN];
	int			by_state[SLOT_STATES];	/* SLOT_AUTHENTICATING: always 0 */
	uint32		opened;			/* these two in this second */
	uint32		refused;		/* by the names that the clients gave */
} RecordedService;

/* A role or a database with a CONNECTION LIMIT, or the walsenders. */
typedef struct RecordedPool
{
	int			kind;			/* a PoolKind */
	Oid			oid;
	char		name[NAMEDATALEN];	/* printable ASCII; empty where names are kept out */
	int			capacity;
	int			in_use;
	Health		health;
} RecordedPool;

/* A borrower of connections that are suspected of a leak for that. */
typedef struct RecordedBorrower
{
	int			place;			/* of the service */
	int			sessions;
	char		name[BORROWER_LEN]; /* printable ASCII */
} RecordedBorrower;

typedef enum RecordedKind
{
	RECORDED_SECOND,
	RECORDED_GAP,				/* nothing was measured in this time: all counts are 0, and mean nothing */
	RECORDED_CALM,				/* measured and healthy, and left out as the reader was asked to: likewise */
} RecordedKind;

typedef struct RecordedSecond
{
	RecordedKind kind;
	TimestampTz from;			/* by the clock of the server; after EVENT_CLOCK_SET it may be earlier than before */
	TimestampTz to;
	int			by_state[SLOT_STATES];	/* slots taken */
	int			capacity;		/* slots for roles without a right to reserved ones */
	int			slots;			/* max_connections */
	Health		health;			/* the worst */
	int64		run_id;			/* of a run on target server that was under way; 0: none */
	uint32		opened;			/* these three in this second */
	uint32		closed;
	uint32		refused[LEDGER_CAUSES];
	int			suspects[LEAK_RULES];	/* sessions suspected of a leak */
	bool		renamed;		/* read: a place may have another service than in the second before */
	int			nservices;		/* places up to the last that is taken, without the others */
	RecordedService services[RECORDED_SERVICES_MAX + 1];
	int			npools;
	RecordedPool pools[RECORDED_POOLS_MAX];
	int			nborrowers;		/* 0, too, where names are kept out */
	RecordedBorrower borrowers[RECORDED_BORROWERS_MAX]; /* those with most connections first */
	int			nevents;
	RecordedEvent events[RECORDED_EVENTS_MAX];
} RecordedSecond;

/* Returns the service at the next place after that one which has any; NULL: there is none. */
static inline const RecordedService *
recorded_service_next(const RecordedSecond *second, int place)
{
	while (++place < second->nservices)
		if (second->services[place].taken)
			return &second->services[place];
	return place <= RECORDED_OTHERS && second->services[RECORDED_OTHERS].taken ? &second->services[RECORDED_OTHERS] : NULL;
}

static inline int
recorded_service_in_use(const RecordedService *service)
{
	return slot_states_sum(service->by_state);
}

/* The services of a second; the others come last. */
#define foreach_recorded_service(second, service) \
	for (const RecordedService *service = recorded_service_next(second, -1); service != NULL; \
		 service = recorded_service_next(second, (int) (service - (second)->services)))

extern int	recorded_in_use(const RecordedSecond *second);
extern int	recorded_reserved_in_use(const RecordedSecond *second);
extern uint64 recorded_refused(const RecordedSecond *second);

/* Is it a part of an incident: critical or exhausted, or a login refused? */
extern bool recorded_is_ill(const RecordedSecond *second);

/* Were refusals counted all the while? */
extern bool recorded_refusals_known(const RecordedSecond *second);

/* Copies a name, NAMEDATALEN bytes, or a text of "size" bytes: what is not printable ASCII becomes '?'. */
extern void recorded_name(char *dst, const char *src);
extern void recorded_text(char *dst, const char *src, int size);
