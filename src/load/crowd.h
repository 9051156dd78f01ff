/*
 * crowd.h
 *		Clients that connect all at once, retry when they are refused, and stay.
 */
#pragma once

#include "load/arrival.h"
#include "load/pool/pool.h"

/* The peak of connects a second is that of a window of this length; of later ones the last one stands for all. */
#define CROWD_WINDOW_US		(100 * 1000)
#define CROWD_WINDOWS		1024

/* Where no option says how many clients there are: so many, in percent of those that fit, and one more. */
#define CROWD_PERCENT		150

typedef struct CrowdConfig
{
	Pool	   *pool;
	AlarmClock *clock;
	int			n;				/* clients */
	int64		seed;
} CrowdConfig;

typedef struct CrowdClient CrowdClient;

/* All figures but "connected" and "cut_off" are of the wave under way, or of the last one. */
typedef struct Crowd
{
	CrowdConfig config;
	CrowdClient *clients;
	pg_prng_state jitter;
	int			fit;			/* the user's to set: when so many are connected, none retries */
	int			wave;			/* which it is; 0: none yet */
	int			connected;
	bool		over;			/* no client retries */
	bool		stopped;		/* no attempt begins any more, and that is known */
	int			cut_off;		/* sessions lost, of connected clients, since the wave before was stopped */
	int			unanswered;		/* clients that have had no answer to an attempt yet */
	uint64		begun_us;
	uint64		in_us;			/* when all that fit were connected, 0 = not yet */
	uint64		granted_us;		/* when the last one was connected */
	uint64		attempts;		/* that have begun ... */
	uint64		ended[ACQUIRE_CANCELED + 1];	/* ... and have come to that end */
	uint64		slowest_us;		/* from the begin of an attempt to its end */
	uint32		granted_in[CROWD_WINDOWS];
	int			refused;		/* clients: see crowd_refused() */
} Crowd;

extern Crowd *crowd_create(const CrowdConfig *config);
extern void crowd_begin(Crowd *crowd);
extern void crowd_connect(Crowd *crowd, bool cut);
extern void crowd_enough(Crowd *crowd);
extern void crowd_stop(Crowd *crowd);
extern void crowd_disconnect(Crowd *crowd, int n);
extern int	crowd_refused(const Crowd *crowd);
extern int	crowd_peak(const Crowd *crowd);

/*
 * Returns how many attempts have no end: each is granted, refused, fails for want of
 * an answer, or is given up when the wave is over before it has begun.
 */
static inline int64
crowd_under_way(const Crowd *crowd)
{
	int64		n = (int64) crowd->attempts;

	for (int end = 0; end < lengthof(crowd->ended); end++)
		n -= (int64) crowd->ended[end];
	return n;
}

/* No attempt is under way, and none begins. */
static inline bool
crowd_rests(const Crowd *crowd)
{
	return crowd->stopped && crowd_under_way(crowd) == 0;
}
