/*
 * strategy.h
 *		What the healer does about leaks: the strategies, and which sessions they spare.
 */
#pragma once

#include "observe/monitor/leak_detector.h"

typedef struct Strategy
{
	const char *name;
	LeakRule	rule;			/* what it ends: suspects of that rule ... */
	LeakCertainty certainty;	/* ... that are so certain */
	int			grace_percent;	/* of the threshold, from suspicion to act */
	int			per_second;
} Strategy;

/* Those that cost least come first: an aborted transaction has nothing to lose. */
#define STRATEGY_LIST(ROW) \
	ROW(HEAL_ABORTED_TRANSACTION, "aborted_transaction", LEAK_IDLE_IN_TRANSACTION, LEAK_CERTAIN, 0, 10) \
	ROW(HEAL_BORROWED, "borrowed", LEAK_BORROWED, LEAK_CERTAIN, 50, 5) \
	ROW(HEAL_ABANDONED, "abandoned", LEAK_ABANDONED, LEAK_POSSIBLE, 50, 5) \
	ROW(HEAL_GROWTH, "growth", LEAK_GROWTH, LEAK_POSSIBLE, 50, 10) \
	ROW(HEAL_IDLE_IN_TRANSACTION, "idle_in_transaction", LEAK_IDLE_IN_TRANSACTION, LEAK_LIKELY, 100, 2)

enum
{
	NO_STRATEGY = -1,
	STRATEGY_LIST(LIST_MEMBER)
};

#define STRATEGIES		LIST_COUNT(STRATEGY_LIST)

extern const Strategy strategies[STRATEGIES];

/* Those in force: their numbers in their order, ended by NO_STRATEGY. */
extern const int *strategies_in_order;

/* How certain a leak must be for the healer to end it, by the setting: a LeakCertainty. */
extern int	heal_certainty;

extern void strategy_init(void);
extern bool strategy_is_for(int strategy, const LeakSession *session);
extern int	strategy_of(const LeakSession *session);
extern char *strategies_text(int set);
extern bool strategies_in_force(int set);
extern LeakCertainty strategies_certainty(int set);
extern const char *strategy_why_spared(const LeakSession *session, const Slot *slot, int certainty);
