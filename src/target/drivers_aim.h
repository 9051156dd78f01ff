/*
 * drivers_aim.h
 *		Is the target of drivers still there?
 */
#pragma once

#include "load/driver.h"
#include "story/story.h"

/* What is known of that; all zero: nothing speaks against it. */
typedef struct Aim
{
	Session		session;		/* of the login that is tried */
	const Login *way;			/* one of the ring of those there */
	const char *name;			/* of the session */
	Login		login;
	bool		tries;			/* that is under way */
	uint64		next_us;		/* when the next one is due */
	uint64		since_us;		/* since then no sign of the target was seen; 0: it is not missed */
	uint64		answers;		/* that the drivers had had by then */
	bool		failed;			/* a login has, since then ... */
	ConnectResult failure;		/* ... as this one did, the last */
} Aim;

extern void aim_open(Aim *aim, const Login *way);
extern char *aim_why_gone(Aim *aim, Run *run, const Driver *drivers, int n);
extern void aim_close(Aim *aim);
