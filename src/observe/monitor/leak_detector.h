/*
 * leak_detector.h
 *		The sessions that are suspected of a leak.
 */
#ifndef POOL_EXHAUST_OBSERVE_MONITOR_LEAK_DETECTOR_H
#define POOL_EXHAUST_OBSERVE_MONITOR_LEAK_DETECTOR_H

#include "observe/slots/slot.h"
#include "shmem/shared.h"

extern int	leak_threshold;		/* milliseconds */

extern void suspects_gucs_init(void);

/* The monitor's part. */
extern void suspects_init(void);
extern void suspects_look_for_clients(const Slot *slots);
extern void suspects_look(const Slot *slots);
extern void suspects_note_limits(void);

extern LeakRule suspect_counted(const LeakTrack *track);
extern LeakRule suspect_rule(int number, const Slot *slot);
extern void suspect_evidence(const LeakTrack *track, uint64 now_us, char *text);
extern RunSlot *slot_run(const Slot *slot);

/* A session that is suspected of a leak. */
typedef struct Suspect
{
	int			pid;
	LeakRule	rule;
	uint64		found_after_us; /* since the state it is suspected for began */
} Suspect;

extern int	suspects_of(const Oid *roles, int nroles, Suspect *suspects, int max);

extern void suspects_reset(void);

#endif							/* POOL_EXHAUST_OBSERVE_MONITOR_LEAK_DETECTOR_H */
