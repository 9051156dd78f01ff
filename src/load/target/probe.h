/*
 * probe.h
 *		What a foreign server says of itself: a session that asks it, again and
 *		again.
 */
#pragma once

#include "load/pool/pool.h"

#define POOL_MODE_LEN	16
#define BORN_LEN		24

/* The name of a session that asks is that of those it asks for, and this. */
#define PROBE_SUFFIX	" asks"

/* Of others that the run has, and does not count among those. */
#define BESIDE_SUFFIX	" beside"

/* As of the last round of questions; what is not known is 0. */
typedef struct Figures
{
	/* PostgreSQL's connections, or the clients of a pooler. */
	int			capacity;
	int			in_use;
	int			ours;			/* of those, sessions of this run ... */
	int			beside;			/* ... others that it has ... */
	int			probes;			/* ... and those that ask for it */
	Cause		full_cause;		/* the limit that is nearest */
	char		born[BORN_LEN]; /* when PostgreSQL was started: no other server was at that moment */
	bool		superuser;		/* the run's user there is one ... */
	bool		blind;			/* ... or may not see of what kind the sessions of others are */

	/* The pool of PgBouncer that the run uses: connections to the server. */
	int			pool_size;
	int			reserve;
	int			active;
	int			idle;
	int			waiting;
	int64		wait_timeout_ms;	/* 0: a client may wait for ever */
	char		mode[POOL_MODE_LEN];	/* session, transaction, statement */
} Figures;

typedef enum ProbeState
{
	PROBE_CONNECTING,
	PROBE_READY,
	PROBE_LOST					/* probe->failure says why */
} ProbeState;

/* How long a question waits for its answer, before its server is lost. */
#define ANSWER_WAIT_MS	(5 * 1000)
#define ANSWER_EACH_MS	3		/* more for each session that the run has there */

typedef struct Probe Probe;

/* Asks one thing, and knows what to do with the answer. */
typedef struct Question
{
	const char *sql;
	const char *name;			/* stands before why there was no answer */
	bool		once;			/* the answer does not change */
	void		(*read) (Probe *probe, const PGresult *rows);

	/* Is that error what a server says that does not know it?  Then it reads NULL.  NULL: none is. */
	bool		(*is_unknown) (const QueryResult *result);
} Question;

struct Probe
{
	Session		session;		/* must be first */
	Loop	   *loop;
	const Login *login;
	const Question *questions;	/* ended by one without sql */
	const char *application_name;	/* by which the run's sessions are known */
	const char *user;
	const char *database;
	ProbeState	state;
	bool		returns;		/* if it is lost it logs in again, until that is granted */
	int			timeout_ms;		/* of a login */
	uint64		lost_us;
	ConnectResult failure;
	int			next;			/* question of the round under way: while the session has a query */
	uint64		began_us;		/* the round under way */
	uint64		asked_us;		/* the question that waits for its answer; 0 = none does */
	uint64		slowest_us;		/* the longest that an answer took */
	uint64		round_us;		/* how long the last round took that has ended */
	uint64		heard_us;		/* the begin of the last one that has ended; 0 = none has */
	Figures		figures;		/* of that */
	int			user_most;		/* connections of one user that PgBouncer makes; 0 = no limit */
	int			peak_active;	/* of all that have ended */
	Figures		coming;			/* of the round under way */
};

extern const Question postgres_questions[];
extern const Question postgres_recall[];
extern const Question pgbouncer_questions[];

extern const char *answer_value(const PGresult *rows, int row, const char *column);

extern void probe_open(Probe *probe, Loop *loop, const Login *login, int timeout_ms);
extern int	probe_wait_ms(const Probe *probe);
extern bool probe_refresh(Probe *probe, uint64 since_us);
extern uint64 probe_slowest_us(const Probe *probe);
extern void probe_close(Probe *probe);
