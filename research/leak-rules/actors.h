/*
 * actors.h
 *		What has a session of its own: people, agents, batches.
 */
#pragma once

#include "workloads.h"

/*
 * Opens a session, works in it, and closes it; then it stays away for a while and
 * begins again.  Work is statements with pauses, and now and then a long pause.
 */
typedef struct Habit
{
	const char *what;
	double		away_s;			/* between two sessions */
	double		first_s;		/* from the login to the first statement; < 0 = none is sent */
	double		statement_ms;
	double		pause_s;		/* mean; regular if it is negative */
	int			statements;		/* mean number between two breaks; regular if negative */
	double		break_s;		/* mean */
	int			breaks;			/* until the session is closed; 0 = never */
	bool		transaction;	/* each row of statements is one */
	bool		listens;
	bool		locks;			/* has an advisory lock */
	bool		held;			/* its pauses and breaks are meant to be that long */
} Habit;

typedef struct Actor
{
	const Habit *habit;
	Service    *service;
	Ref			ref;
	int			statements;		/* left until the break */
	int			breaks;			/* left until it closes */
	bool		once;
	bool		done;
} Actor;

extern Actor *actor_new(Service *service, const Habit *habit, double begin_s);
