/*
 * leak_detector.h
 *		The sessions that are suspected of a leak.
 */
#pragma once

#include "observe/slots/slot.h"
#include "shmem/shared.h"

extern int	leak_threshold;		/* milliseconds */

extern void leak_detector_gucs_init(void);

/* The monitor's part. */
extern void leak_detector_init(void);
extern void leak_detector_read_clients(const Slot *slots);
extern void leak_detector_observe(const Slot *slots);
extern void leak_detector_note_limits(void);

/*
 * A copy of what the monitor remembers of the session in each slot, palloc'd;
 * "fresh" says whether it watches now.  Takes the lock.
 */
extern LeakSession *leak_sessions_copy(bool *fresh);

extern LeakRule suspect_rule(int number, const Slot *slot);
extern bool suspect_read(int number, const LeakSession *session, Slot *slot);
extern void suspect_evidence(const LeakSession *session, uint64 now_us, char *text);
extern RunEntry *slot_run(const Slot *slot);

/* A session that is suspected of a leak. */
typedef struct Suspect
{
	int			pid;
	LeakRule	rule;
	uint64		found_after_us; /* since the state it is suspected for began */
} Suspect;

extern int	suspects_of(const Oid *roles, int nroles, Suspect *suspects, int max);

/* What the monitor remembers of how a session is used. */
typedef struct SessionUse
{
	bool		used_once;		/* soon after its start, and not since */
	uint64		longest_rest_us;	/* that one of its pool ever rested before it was used again */
} SessionUse;

extern SessionUse session_use(int number, const Slot *slot);

extern void leak_detector_reset(void);
