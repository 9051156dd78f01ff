/*
 * strategy.h
 *		What the healer does about leaks: the strategies, and which sessions they spare.
 */
#pragma once

#include "observe/monitor/leak_detector.h"

typedef struct Strategy
{
	const char *name;
	LeakRule	rule;
	bool		aborted;		/* of sessions in a transaction that has failed */
	int			grace_percent;	/* of the threshold, from suspicion to act */
	int			per_second;
} Strategy;

/* Those that cost least come first: an aborted transaction has nothing to lose. */
#define STRATEGY_LIST(ROW) \
	ROW(HEAL_ABORTED_TRANSACTION, "aborted_transaction", LEAK_IDLE_IN_TRANSACTION, true, 0, 10) \
	ROW(HEAL_ABANDONED, "abandoned", LEAK_ABANDONED, false, 50, 5) \
	ROW(HEAL_GROWTH, "growth", LEAK_GROWTH, false, 50, 10) \
	ROW(HEAL_IDLE_IN_TRANSACTION, "idle_in_transaction", LEAK_IDLE_IN_TRANSACTION, false, 100, 2)

enum
{
	NO_STRATEGY = -1,
	STRATEGY_LIST(LIST_MEMBER)
};

#define STRATEGIES		LIST_COUNT(STRATEGY_LIST)
#define ALL_STRATEGIES	((1 << STRATEGIES) - 1)

extern const Strategy strategies[STRATEGIES];

/* Those in force: their numbers in their order, ended by NO_STRATEGY. */
extern const int *strategies_in_order;

extern void strategy_init(void);
extern bool strategy_is_for(int strategy, const LeakSession *session);
extern int	strategy_of(const LeakSession *session);
extern char *strategies_text(int set);
extern bool strategies_in_force(int set);
extern const char *strategy_why_spared(const LeakSession *session, const Slot *slot);
