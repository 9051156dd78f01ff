/*
 * recorded_services.h
 *		The services of the second that is being recorded, each at its place.
 */
#pragma once

#include "base/recorder/record.h"
#include "observe/monitor/service.h"

extern bool recorder_names;

/* Forgets all services, and takes what is counted by name from now on; "anew": all that was counted is new. */
extern void recorded_services_begin(RecordedSecond *second, bool anew);

/* Takes the services of an observation, in the place of the one before. */
extern void recorded_services_note(RecordedSecond *second, HTAB *services);

/* Adds what was counted by name since the last time; "refused": logins were refused since then. */
extern void recorded_services_count(RecordedSecond *second, bool refused);

/* Nothing is counted yet in the next second. */
extern void recorded_services_next(RecordedSecond *second);

/* Counters of names were set back: what they have now is new. */
extern void recorded_services_reset(void);

/* Returns the place of a service, by its name as service_name() gives it; that of the others if it has none. */
extern int	recorded_service_place(const char *service);
