/*
 * world.h
 *		A server without a server: clock, sessions, and the truth about them.
 */
#pragma once

#include "postgres.h"

#include "base/leak/leak.h"

#define MS			UINT64CONST(1000)
#define SECOND		(1000 * MS)
#define MINUTE		(60 * SECOND)
#define HOUR		(60 * MINUTE)

#define SLOTS		400			/* max_connections */
#define SERVICES	64

struct Pool;

/* The sessions that share role, database, application_name and client host. */
typedef struct Service
{
	uint64		hash;
	int			sessions;
	int			lost;			/* of those: given up or leaked */
	uint64		active_us;		/* time in which any of them was used */
	uint64		active_at_us;	/* the last observation at which one was */
	uint64		newest_us;		/* when the last one was opened */
	uint64		longest_rest_us;	/* of that time, after which one was used again, or closed */
	int			occasions;		/* on which those were opened */
	uint64		occasion_us;	/* the last one */
	bool		names_borrowers;	/* says what has a connection */
	int			processes;		/* with a pool each, that ever were there at once */
} Service;

typedef struct Session
{
	int			pid;			/* 0: the slot is free */
	bool		visible;		/* its login is through */
	bool		aborted;
	bool		listens;
	bool		locks;			/* has an advisory lock */
	bool		client_gone;
	SlotState	state;
	TimestampTz started;		/* these two by the server's clock */
	TimestampTz state_since;
	Service    *service;
	const char *what;
	uint64		opened_us;
	uint64		since_us;		/* of the state */
	int			uses;			/* after it was idle */
	int			observations_used;		/* observations that find it used since the one before */
	uint64		seen_since_us;	/* since_us of the last observation */
	bool		seen_idle;

	/* For its pool. */
	struct Pool *pool;
	bool		lent;
	TimestampTz lent_at;
	bool		evicted;		/* to be closed when it comes back */
	uint64		expires_us;

	/* The truth. */
	bool		needless;		/* opened while one lay idle that was used later */
	bool		lost;			/* its pool does not count it any more */
	LeakRule	leak;			/* LEAK_NONE: it will be used or closed */
	bool		held;			/* for longer than the threshold, but on purpose */
	uint64		leaked_us;		/* when it was used last */
	uint64		active_us;		/* of its service, when it was used last */
	uint64		due_us;			/* when the definition held first; 0 = not yet */
	uint64		holds_us;		/* since when it has held now, for that many observations */
	int			holds;
	int			others_then;	/* of its service, not leaked, when it was */
	bool		outlived;		/* one that was there then was used long after it */
	bool		vanished;		/* with all of its process */
	LeakRule	found;			/* by which rule, while it was a leak */
	unsigned	alarms;			/* rules that named it while it was none, by bit */
	int			alarm;			/* where the first of these stands; -1 = nowhere */
} Session;

/* A session that may have gone meanwhile. */
typedef struct Ref
{
	int			slot;
	int			pid;
} Ref;

typedef void (*Event) (void *what, int64 arg);

typedef struct World
{
	uint64		now_us;
	int64		clock_us;		/* the server's clock, less the monotonic one */
	uint64		blind_until_us;
	uint64		end_us;
	int			threshold_ms;
	void		(*closing) (Session *session);	/* is told before one goes */
	Session		sessions[SLOTS];
	int			nslots;			/* that were ever taken */
	Service		services[SERVICES];
	int			nservices;
} World;

extern World world;

extern void world_begin(uint64 seed);
extern void world_advance(uint64 until_us);
extern void *world_alloc(size_t size);
extern void at(uint64 when_us, Event event, void *what, int64 arg);
extern void after(uint64 delay_us, Event event, void *what, int64 arg);

extern double uniform(void);
extern double between(double least, double most);
extern uint64 around(uint64 mean_us);	/* exponentially distributed */
extern int	below(int n);
extern bool chance(double probability);

extern Service *service_new(void);
extern Session *session_open(Service *service, const char *what, Event ready, void *arg);
extern void session_close(Session *session);
extern void session_turn(Session *session, SlotState state);
extern void session_lose(Session *session);
extern void session_leak(Session *session, LeakRule rule);
extern Ref	session_ref(const Session *session);
extern Session *session_of(Ref ref);	/* NULL: it has gone */

#define session_slot(session) ((int) ((session) - world.sessions))

extern void die(const char *fmt,...) __attribute__((noreturn, format(printf, 1, 2)));
