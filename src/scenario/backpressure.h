/*
 * backpressure.h
 *		What scenario backpressure has, and what it claims of it.
 */
#pragma once

#include "story/http_load.h"

/* No answer within so many times the limit, and there will be none. */
#define DEADLINE_FACTOR		2

typedef struct Backpressure
{
	Run		   *run;
	HttpTarget	target;
	bool		own;			/* the reference API, and no other service */
	int			response_limit_ms;
	HttpLoad   *load;
	HttpLoad   *liveness;		/* these two NULL: there is no such path */
	HttpLoad   *other;
	double		other_p99_ms;	/* in the baseline */
} Backpressure;

/* Returns how long a request waits for its answer, in ms. */
static inline int
deadline_ms(const Backpressure *bp)
{
	return bp->response_limit_ms * DEADLINE_FACTOR;
}

extern void backpressure_check(const Backpressure *bp);
