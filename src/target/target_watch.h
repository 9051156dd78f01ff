/*
 * target_watch.h
 *		Is the target of drivers still there?
 */
#pragma once

#include "load/driver.h"
#include "story/story.h"

/* What is known of that; all zero: nothing speaks against it. */
typedef struct TargetWatch
{
	Session		session;		/* of the login that is tried */
	const Login *tried;			/* last, one of a ring */
	const char *name;			/* of the session */
	Login		login;
	bool		tries;			/* that is under way */
	uint64		next_us;		/* when the next one is due */
	uint64		since_us;		/* since then no sign of the target was seen; 0: it is not missed */
	uint64		answers;		/* that the drivers had had by then */
	bool		failed;			/* a login has, since then ... */
	ConnectResult failure;		/* ... as this one did, the last */
} TargetWatch;

extern void target_watch_open(TargetWatch *watch, const Login *ring);
extern char *target_why_gone(TargetWatch *watch, Run *run, const Driver *drivers, int n);
extern void target_watch_close(TargetWatch *watch);
