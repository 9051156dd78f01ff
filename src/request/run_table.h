/*
 * run_table.h
 *		The run table in shared memory: entries, claims, and waiting for a run.
 */
#pragma once

#include "shmem/run_entry.h"

/* One use of an entry; another run may have the entry by the time it is read. */
typedef struct Claim
{
	int			number;
	uint64		ticket;
} Claim;

/* For run_entry_wait(). */
#define NO_TIMEOUT		PG_INT64_MAX

/* Of a row without a verdict whose run is not under way. */
#define RUN_LOST_REASON	"the run is not under way, and its results were not written"

/* What a waiter learns about its run. */
typedef struct RunStatus
{
	RunState	state;			/* RUN_FREE if the entry is another run's now */
	int			runner_pid;
	char		phase[NAMEDATALEN];
	int64		run_id;
	Verdict		verdict;
	bool		too_busy;
	int			error_code;
	int64		hold_id;
	TimestampTz held_at;		/* 0: the hold never was complete */
	int			closed;
	char		reason[RUN_REASON_LEN];
} RunStatus;

extern void run_entry_require(const RunRequest *request);
extern Claim run_entry_claim(const RunRequest *request);
extern void run_entry_release(const Claim *claim);
extern bool run_entry_free(const Claim *claim);
extern RunStatus run_entry_wait(const Claim *claim, RunState wanted, int64 timeout_ms, bool relay);
extern RunStatus run_entry_view(const Claim *claim);
extern bool run_entry_ticket_is_busy(uint64 ticket);
extern void run_entry_stop(const Claim *claim, StopCause cause);
extern void run_entry_abandon(int code, Datum claim);
extern bool run_may_be_under_way(int64 run_id);
extern bool run_entry_find_run(int64 run_id, Claim *claim);
extern int	run_entries_to_end(bool holds, bool all, int64 id, Claim *claims, int *connections);
extern void run_entries_stop_held_by_me(void);
