/*
 * held.h
 *		One session of a hold, and what all of them share.
 */
#pragma once

#include "story/story.h"

#define USED_ONCE	"SELECT 1"

struct Hold;

/* A state that connections are held in, or a kind of leak. */
typedef struct HoldKind
{
	const char *name;
	bool		only_leaks;		/* a kind of leak, and no state of a connection */
	bool		anywhere;		/* also on foreign servers */
	int			beside;			/* sessions that it opens beside those, at least */
	int			beside_each;	/* and beside each of them */
	bool		stalls;			/* its logins are never granted */
	bool		grows;			/* its sessions come one after another, each used once */
	bool		vanishes;		/* its clients close their sockets, and the sessions go on */
	const char *sql;			/* what each session runs; NULL: that depends */
	bool		locks;			/* it waits for a lock that the one beside it holds */
	bool		lasts;			/* its statement goes on running, as long as the hold does */
	bool		fails;			/* and fails, on purpose */
	uint32		wait_event;		/* what it then waits for ... */
	uint32		wait_mask;		/* ... in these bits */
	void		(*open) (struct Hold *hold);	/* opens all its sessions; NULL: at once */
} HoldKind;

/* One session of the hold. */
typedef struct Held
{
	Request		request;		/* must be first */
	struct Hold *hold;
	bool		beside;			/* not one of those that were asked for */
	bool		began;			/* its statement has begun */
	Alarm		alarm;			/* of a companion: when it is used again */
} Held;

typedef struct Hold
{
	Run		   *run;
	const HoldKind *kind;
	Held	   *held;			/* those that were asked for, then those beside them */
	int			n;				/* of the former */
	char	   *sql;			/* what each runs; NULL: nothing */
	bool		says_begin;		/* its first row comes when it begins */
	int			ready;			/* of all, as far as the client sees */
	int			alive;			/* of those that were asked for */
	bool		complete;
	bool		refused;
	bool		unasked;		/* a login was to stall, and was granted without a password */
	bool		unlocked;		/* the session that held the lock is gone */
	int			error_code;		/* what went wrong first, 0 = nothing */
	char		error[MESSAGE_LEN];
} Hold;

extern void held_init(Held *held, Hold *hold);
extern void hold_count(Hold *hold, int alive);
extern void companion_rest(Held *held);
