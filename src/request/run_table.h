/*
 * run_table.h
 *		The places of runs in shared memory, as a caller's backend sees them.
 */
#ifndef POOL_EXHAUST_REQUEST_RUN_TABLE_H
#define POOL_EXHAUST_REQUEST_RUN_TABLE_H

#include "shmem/shared.h"

/* One use of a place: the place may be another run's by the time of a look. */
typedef struct Claim
{
	int			place;
	uint64		ticket;
} Claim;

/* What a waiter learns about its run. */
typedef struct RunView
{
	RunState	state;			/* RUN_FREE if the place is another run's now */
	int64		run_id;
	Verdict		verdict;
	int			error_code;
	int64		hold_id;
	TimestampTz held_at;		/* 0: the hold never was complete */
	int			closed;
	char		reason[RUN_REASON_LEN];
} RunView;

extern void place_require(const RunPlan *plan);
extern Claim place_claim(const RunPlan *plan);
extern void place_release(const Claim *claim);
extern bool place_free(const Claim *claim);
extern RunView place_wait(const Claim *claim, RunState wanted, TimestampTz end, bool relay);
extern RunView place_view(const Claim *claim);
extern bool place_ticket_is_busy(uint64 ticket);
extern void place_stop(const Claim *claim, StopCause cause);
extern void place_abandon(int code, Datum claim);
extern bool place_is_busy(const RunSlot *slot);
extern bool place_find_run(int64 run_id, Claim *claim);
extern int	places_to_stop(bool all, int64 run_id, Claim *claims);
extern int	places_to_release(bool all, int64 hold_id, Claim *claims, int *connections);
extern void places_stop_held_by_me(void);

#endif							/* POOL_EXHAUST_REQUEST_RUN_TABLE_H */
