/*
 * slot_state.h
 *		What the session in a slot is doing.
 */
#pragma once

#include "base/words.h"

#define SLOT_STATE_LIST(ROW) \
	ROW(SLOT_AUTHENTICATING, "authenticating")	/* the login is not complete */ \
	ROW(SLOT_ACTIVE, "active") \
	ROW(SLOT_IDLE, "idle") \
	ROW(SLOT_IDLE_IN_TRANSACTION, "idle_in_transaction")	/* aborted ones too */ \
	ROW(SLOT_UNKNOWN, "unknown")	/* track_activities is off there */

typedef enum SlotState
{
	SLOT_STATE_LIST(LIST_MEMBER)
} SlotState;

#define SLOT_STATES LIST_COUNT(SLOT_STATE_LIST)

extern const char *const slot_state_names[SLOT_STATES];

/* Returns how many slots these are in all. */
static inline int
slot_states_sum(const int by_state[SLOT_STATES])
{
	int			sum = 0;

	for (int i = 0; i < SLOT_STATES; i++)
		sum += by_state[i];
	return sum;
}
