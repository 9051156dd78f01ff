/*
 * slot_state.h
 *		What the session in a slot is doing.
 */
#ifndef POOL_EXHAUST_BASE_SLOT_STATE_H
#define POOL_EXHAUST_BASE_SLOT_STATE_H

typedef enum SlotState
{
	SLOT_AUTHENTICATING,		/* the login is not through yet */
	SLOT_ACTIVE,
	SLOT_IDLE,
	SLOT_IDLE_IN_TRANSACTION,	/* aborted ones too */
	SLOT_UNKNOWN				/* track_activities is off there */
} SlotState;

#define SLOT_STATES (SLOT_UNKNOWN + 1)

extern const char *const slot_state_names[SLOT_STATES];

#endif							/* POOL_EXHAUST_BASE_SLOT_STATE_H */
