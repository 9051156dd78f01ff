/*
 * sub_runs.h
 *		Runs that a run starts, and that are recorded and judged on their own.
 *
 * A story knows what is to be run; how a run comes to be is the business of
 * those who started the story, and they bring these functions along.
 */
#ifndef POOL_EXHAUST_STORY_SUB_RUNS_H
#define POOL_EXHAUST_STORY_SUB_RUNS_H

#include "story/story.h"

typedef enum ChildState
{
	CHILD_NEW,
	CHILD_UNDER_WAY,
	CHILD_OVER					/* holds nothing any more; verdict and reason stand */
} ChildState;

typedef enum ChildStart
{
	CHILD_STARTED,
	CHILD_NOT_NOW,				/* others are in the way; "reason" says which */
	CHILD_IMPOSSIBLE			/* as things are; "reason" says why */
} ChildStart;

typedef struct Child
{
	const Scenario *scenario;	/* these two set by the story */
	TargetKind	target;
	ChildState	state;
	int64		run_id;			/* 0: it was never recorded */
	Verdict		verdict;
	char		reason[RUN_REASON_LEN];
	uint64		started_us;
	uint64		ended_us;

	/* The starter's own. */
	int			place;
	uint64		ticket;
	int			needed;			/* connections that it is going to hold */
	void	   *worker;
} Child;

/*
 * They do not throw, but for what ends the process.  All take the run and one of
 * its children.
 */
typedef struct ChildRuns
{
	/* Tries to start it; asks for all that is asked for of any other run. */
	ChildStart	(*start) (Run *run, Child *child);

	/* Takes in how it fares. */
	void		(*look) (Run *run, Child *child);

	const char *const *target_names;	/* by TargetKind */
} ChildRuns;

#endif							/* POOL_EXHAUST_STORY_SUB_RUNS_H */
