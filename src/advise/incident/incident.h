/*
 * incident.h
 *		Incidents: the times in which the server was critical or exhausted, or refused
 *		a login, and what came before and after.
 *
 * They are found in what was recorded, second after second.  Two that are less than a
 * minute apart are one.
 */
#pragma once

#include "base/recorder/record.h"
#include "shmem/shared.h"

/* An incident is over after so long without a second that is part of it. */
#define INCIDENT_CALM_US	(60 * USECS_PER_SEC)

#define INCIDENT_SERVICES_MAX	128

/* A service in an incident. */
typedef struct IncidentService
{
	char		name[SERVICE_LEN];	/* role/application_name; what stands for it, where names were not recorded */
	Oid			role;			/* InvalidOid: not known */
	int			before;			/* in use at that moment */
	int			worst;
	int			full;			/* when it was nearly as full for the last time */
	int			after;
	uint64		opened;
	uint64		refused;
	TimestampTz refused_last;
	TimestampTz recovered_at;	/* the first login that was granted after that; 0: none was seen */
} IncidentService;

/* A borrower of connections that were leaked. */
typedef struct IncidentBorrower
{
	char		service[SERVICE_LEN];
	Oid			role;			/* of that; InvalidOid: not known */
	int			sessions;
	char		name[BORROWER_LEN];
} IncidentBorrower;

/* What ended it. */
#define INCIDENT_END_LIST(ROW) \
	ROW(END_UNDER_WAY, "under way") \
	ROW(END_GIVEN_BACK, "given back")	/* a service gave back sessions */ \
	ROW(END_HEALED, "healed")	/* the healer ended sessions */ \
	ROW(END_RAISED, "capacity raised") \
	ROW(END_RESTARTED, "server started again") \
	ROW(END_UNKNOWN, "not recorded")	/* nothing was measured after it */ \
	ROW(END_CALM, "no login refused any more")

typedef enum IncidentEnd
{
	INCIDENT_END_LIST(LIST_MEMBER)
} IncidentEnd;

extern const char *const incident_end_names[];

/* The server at a moment. */
typedef struct IncidentMoment
{
	TimestampTz at;				/* 0: there is none */
	int			in_use;
	int			by_state[SLOT_STATES];
	int			capacity;
	Health		health;
} IncidentMoment;

typedef struct Incident
{
	TimestampTz started_at;
	TimestampTz ended_at;		/* 0: it is under way */
	TimestampTz last_at;		/* of what was seen of it */
	Health		worst_health;
	int64		run_id;			/* of a run on target server at that time; 0: none */
	IncidentMoment before;		/* the emptiest second of the hour before, or the first of it */
	IncidentMoment worst;		/* the fullest second */
	IncidentMoment after;		/* the first second that is no part of it */
	uint64		refused[LEDGER_CAUSES];
	uint64		opened;
	int			starts;			/* of the server meanwhile */
	int64		unmeasured_ms;
	int			healed;			/* sessions */
	IncidentEnd end;
	int			end_count;		/* sessions that were given back, or healed; the capacity it was raised to */
	int			end_before;		/* and what it was */
	const IncidentService *end_by;	/* NULL: no service */
	int			borrowed;		/* connections suspected by rule borrowed, at the most */
	int			nborrowers;		/* ... and which borrowers had most of them then */
	IncidentBorrower borrowers[RECORDED_BORROWERS_MAX];
	int			nservices;		/* those that grew most come first */
	IncidentService services[INCIDENT_SERVICES_MAX];
} Incident;

/* How much a service grew. */
extern int	incident_growth(const IncidentService *service);

/* The services that grew most: 0, 1, or 2 if the second grew half as much as the first. */
extern int	incident_growers(const Incident *incident);
extern uint64 incident_refused(const Incident *incident);

/* Writes what stands for a service, SERVICE_LEN bytes. */
extern void incident_service_name(const RecordedSecond *second, const RecordedService *service, char *name);

/* Returns how many sessions the service that this stands for has in a second. */
extern int	incident_service_in_use(const RecordedSecond *second, const char *name);

/* Finds incidents; palloc'd. */
typedef struct IncidentFinder IncidentFinder;

extern IncidentFinder *incident_finder(void (*found) (Incident *incident, void *arg), void *arg);
extern void incident_take(IncidentFinder *finder, const RecordedSecond *second);
extern void incident_finish(IncidentFinder *finder, TimestampTz now);
