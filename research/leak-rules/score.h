/*
 * score.h
 *		What the rules found, against the truth.
 */
#pragma once

#include "workloads.h"

#define NOTES	24

typedef enum NoteKind
{
	NOTE_MISS,
	NOTE_ALARM,
	NOTE_HELD,					/* named, and held on purpose for that long */
	NOTE_LATE
} NoteKind;

#define NOTE_KINDS (NOTE_LATE + 1)

/* Why a leak cannot be told from the sessions of a healthy service. */
typedef enum Doubt
{
	DOUBT_BRIEF,
	DOUBT_FEW,
	DOUBT_COLD,
	DOUBT_RESTS,
	DOUBT_POOLS
} Doubt;

#define DOUBTS (DOUBT_POOLS + 1)

/* What is to be told of one session. */
typedef struct Note
{
	NoteKind	kind;
	LeakRule	rule;			/* what it is, or what it was named */
	LeakRule	found;
	const char *what;
	int			pid;
	uint64		seed;
	double		at_s;			/* named, or, if it is a leak, leaked */
	double		opened_s;
	double		idle_s;			/* before it was named */
	int			uses;
	LeakEvidence evidence;
	int			newer;			/* of its service, opened later and kept in use */
	int			idle;			/* of its service, for longer than the threshold */
	double		rest_s;			/* the longest after which one of its service came back */
	double		after_s;		/* until it was used or closed; < 0 = it was not */
	bool		closed;
} Note;

typedef struct RuleScore
{
	int			leaks;			/* whose definition held */
	int			right;
	int			other;			/* leaks of this kind, found by another rule */
	int			missed;
	int			false_alarms;	/* named by this rule */
	int			borrowed;		/* leaks of another kind, named by this rule */
	int			held;			/* named by this rule, held on purpose */
	int			undecided;		/* whose definition never held */
	int			undecided_found;
	int			late;
	double		delay_s;		/* the longest */
} RuleScore;

typedef struct Score
{
	RuleScore	rules[LEAK_RULES];
	uint64		observations;
	uint64		noted;			/* sessions, in all observations */
	int			doubts[DOUBTS];
	int			nnotes;
	Note		notes[NOTES];
	int			lost[NOTE_KINDS];	/* notes that did not fit */
} Score;

typedef struct Task
{
	const Workload *workload;
	Variant		variant;
	uint64		seed;
	int			threshold_ms;
	int			interval_ms;
	Score		score;
} Task;

extern void task_run(Task *task);
extern bool cost_run(void);
extern LeakWatch *watch_new(int nslots);
extern void watch_clear(LeakWatch *watch);

/* Notes a slot as the monitor does: in short, if nothing is new there. */
extern void watch_note(LeakWatch *watch, int number, const LeakObservation *observation, uint64 now_us);
