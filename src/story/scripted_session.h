/*
 * scripted_session.h
 *		A session with a script: it gets a connection, runs one statement, and
 *		keeps it.
 */
#pragma once

#include "observe/monitor/strategy.h"
#include "story/story.h"

typedef struct ScriptedSession
{
	Request		request;		/* must be first */
	Session		own;			/* of one that has no pool */
	const char *sql;
	LeakRule	leaks;			/* by which rule it must be found; LEAK_NONE: it is no leak */
	bool		lasts;			/* its statement does; it is at work once it has sent it */
	bool		releases;		/* when its statement has ended */
	int			pid;
	bool		asked;
	bool		at_work;		/* in the state that the script leads to */
	bool		done;			/* its statement has ended */
	bool		vanished;
	bool		lost;			/* the server has ended it */
	int			tries;			/* to get a connection of the pool */
	bool		failed;			/* it got no connection ... */
	ConnectResult failure;		/* ... of its own, for that */
} ScriptedSession;

extern void scripted_session_take(ScriptedSession *scripted, Pool *pool);
extern void scripted_session_open(Run *run, const RunParty *party, ScriptedSession *scripted);
extern void scripted_session_vanish(ScriptedSession *scripted);
extern bool scripted_sessions_at_work(const ScriptedSession *scripted, int n);
extern bool scripted_session_failed(const ScriptedSession *scripted, int n);
extern bool scripted_sessions_wait(Run *run, const ScriptedSession *scripted, int n);
extern const char *scripted_sessions_failure(const Run *run, const ScriptedSession *scripted, int n);
extern void scripted_sessions_require(Run *run, const ScriptedSession *scripted, int n);
extern int	scripted_sessions_count(const ScriptedSession *scripted, int n, bool leaks);
extern int	scripted_sessions_lost(const ScriptedSession *scripted, int n, bool leaks);

/* Transactions that their clients never end, and the strategies that end them. */
extern const ScriptedSession leak_open;
extern const ScriptedSession leak_aborted;

#define STRATEGIES_OF_TRANSACTIONS ((1 << HEAL_ABORTED_TRANSACTION) | (1 << HEAL_IDLE_IN_TRANSACTION))
