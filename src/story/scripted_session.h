/*
 * scripted_session.h
 *		A client with a part to play: it takes a connection, does one thing with
 *		it, and keeps it.
 */
#ifndef POOL_EXHAUST_STORY_SCRIPTED_SESSION_H
#define POOL_EXHAUST_STORY_SCRIPTED_SESSION_H

#include "base/leak/leak.h"
#include "story/story.h"

typedef struct ScriptedSession
{
	Request		request;		/* must be first */
	Session		own;			/* of one that has no pool */
	const char *sql;
	LeakRule	leaks;			/* by which rule it must be found; LEAK_NONE: it is innocent */
	bool		lasts;			/* its statement does; it is at work once it has sent it */
	bool		gives_back;		/* when its statement has ended */
	int			pid;
	bool		asked;
	bool		at_work;		/* it is in the state that it is to be in */
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

#endif							/* POOL_EXHAUST_STORY_SCRIPTED_SESSION_H */
