/*
 * scripted_session.h
 *		A session with a script: it gets a connection, runs one statement, and
 *		keeps it.
 */
#pragma once

#include "base/leak/leak.h"
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
	bool		failed;			/* it got no connection */
} ScriptedSession;

extern void scripted_session_take(ScriptedSession *scripted, Pool *pool);
extern void scripted_session_open(Run *run, const RunParty *party, ScriptedSession *scripted);
extern void scripted_session_vanish(ScriptedSession *scripted);
extern bool scripted_sessions_at_work(const ScriptedSession *scripted, int n);
extern bool scripted_session_failed(const ScriptedSession *scripted, int n);
