/*
 * incident.c
 *		Finds incidents in what was recorded.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "advise/incident/incident.h"
#include "shmem/names.h"

#define BEFORE_MINUTES		60	/* that is RECORDING_LOOKBACK_US */

/* What was recorded last is of now if it is no older. */
#define FRESH_US			(10 * USECS_PER_SEC)

/* "Full" is a second with so much of the most that was in use. */
#define FULL_PERCENT		90

const char *const incident_end_names[] = {INCIDENT_END_LIST(LIST_WORD)};

/* A second that is kept: the emptiest of its minute. */
typedef struct Minute
{
	int64		number;			/* since the year 2000 */
	RecordedSecond second;
} Minute;

struct IncidentFinder
{
	void		(*found) (Incident *incident, void *arg);
	void	   *arg;
	Minute	   *minutes;		/* BEFORE_MINUTES, by number */
	bool		open;			/* there is an incident */
	bool		calm;			/* a second that is no part of it has come */
	TimestampTz last_ill;		/* the end of its last second */
	bool		restarted;		/* these four since then */
	int			healed;
	int			raised_to;
	int			raised_from;
	TimestampTz last_to;		/* of what was taken */
	RecordedSecond worst;
	RecordedSecond full;
	RecordedSecond after;
	Incident	incident;
};

IncidentFinder *
incident_finder(void (*found) (Incident *incident, void *arg), void *arg)
{
	IncidentFinder *finder = palloc0(sizeof(IncidentFinder));

	finder->found = found;
	finder->arg = arg;
	finder->minutes = palloc0(sizeof(Minute) * BEFORE_MINUTES);
	return finder;
}

int
incident_growth(const IncidentService *service)
{
	return service->worst - service->before;
}

int
incident_growers(const Incident *incident)
{
	int			first = incident->nservices > 0 ? incident_growth(&incident->services[0]) : 0;
	int			second = incident->nservices > 1 ? incident_growth(&incident->services[1]) : 0;

	return (first > 0) + (first > 0 && second > 0 && 2 * second >= first);
}

uint64
incident_refused(const Incident *incident)
{
	uint64		refused = 0;

	for (int i = 0; i < LEDGER_CAUSES; i++)
		refused += incident->refused[i];
	return refused;
}

/* ---------- Before it ---------- */

static Minute *
minute_of(IncidentFinder *finder, TimestampTz at, int64 *number)
{
	*number = Max(at, 0) / USECS_PER_MINUTE;
	return &finder->minutes[*number % BEFORE_MINUTES];
}

static void
minute_note(IncidentFinder *finder, const RecordedSecond *second)
{
	int64		number;
	Minute	   *minute = minute_of(finder, second->from, &number);

	if (minute->number == number && recorded_in_use(second) > recorded_in_use(&minute->second))
		return;
	minute->number = number;
	minute->second = *second;
}

/* Returns the emptiest second of the hour before, the latest of these; or that one itself. */
static const RecordedSecond *
second_before(IncidentFinder *finder, const RecordedSecond *first)
{
	const RecordedSecond *before = first;

	for (int i = 0; i < BEFORE_MINUTES; i++)
	{
		const RecordedSecond *second = &finder->minutes[i].second;
		int			in_use = recorded_in_use(second);

		if (second->to == 0 || second->to > first->from + USECS_PER_SEC || second->to < first->from - USECS_PER_HOUR)
			continue;
		if (in_use < recorded_in_use(before) || (in_use == recorded_in_use(before) && before != first && second->to > before->to))
			before = second;
	}
	return before;
}

/* ---------- Services ---------- */

void
incident_service_name(const RecordedSecond *second, const RecordedService *service, char *name)
{
	if (service == &second->services[RECORDED_OTHERS])
		strlcpy(name, NAMES_OTHERS, SERVICE_LEN);
	else if (service->usename[0] == '\0' && service->application_name[0] == '\0')
		snprintf(name, SERVICE_LEN, "service %u", service->number);
	else
		snprintf(name, SERVICE_LEN, "%s/%s", service->usename, service->application_name);
}

int
incident_service_in_use(const RecordedSecond *second, const char *name)
{
	foreach_recorded_service(second, service)
	{
		char		here[SERVICE_LEN];

		incident_service_name(second, service, here);
		if (strcmp(here, name) == 0)
			return recorded_service_in_use(service);
	}
	return 0;
}

/* Returns what is known of that service; the last place is for those that there is no room for. */
static IncidentService *
service_in(Incident *incident, const RecordedSecond *second, const RecordedService *service)
{
	char		name[SERVICE_LEN];
	IncidentService *added;

	incident_service_name(second, service, name);
	for (int i = 0; i < incident->nservices; i++)
		if (strcmp(incident->services[i].name, name) == 0)
			return &incident->services[i];
	if (incident->nservices == INCIDENT_SERVICES_MAX)
		return &incident->services[INCIDENT_SERVICES_MAX - 1];
	added = &incident->services[incident->nservices++];
	memset(added, 0, sizeof(*added));
	strlcpy(added->name, incident->nservices == INCIDENT_SERVICES_MAX ? NAMES_OTHERS : name, SERVICE_LEN);
	added->role = service->role;
	return added;
}

/* Which of the moments a count is of. */
static void
services_note(Incident *incident, const RecordedSecond *second, size_t moment)
{
	foreach_recorded_service(second, service)
	{
		IncidentService *known = service_in(incident, second, service);

		*(int *) ((char *) known + moment) += recorded_service_in_use(service);
		if (!OidIsValid(known->role))
			known->role = service->role;
	}
}

/* Logins of a second: which services were refused, and which are through again. */
static void
services_count(Incident *incident, const RecordedSecond *second)
{
	foreach_recorded_service(second, service)
	{
		IncidentService *known;

		if (service->opened == 0 && service->refused == 0)
			continue;
		known = service_in(incident, second, service);
		known->opened += service->opened;
		known->refused += service->refused;
		if (service->refused > 0)
		{
			known->refused_last = second->to;
			known->recovered_at = 0;
		}
		else if (known->refused > 0 && known->recovered_at == 0)
			known->recovered_at = second->to;
	}
}

/* Those that grew most come first, then those that were refused most. */
static int
compare_services(const void *a, const void *b)
{
	const IncidentService *x = a;
	const IncidentService *y = b;

	if (incident_growth(x) != incident_growth(y))
		return incident_growth(y) - incident_growth(x);
	if (x->refused != y->refused)
		return x->refused < y->refused ? 1 : -1;
	return strcmp(x->name, y->name);
}

/* ---------- An incident ---------- */

static void
moment_set(IncidentMoment *moment, const RecordedSecond *second)
{
	moment->at = second->to;
	moment->in_use = recorded_in_use(second);
	memcpy(moment->by_state, second->by_state, sizeof(moment->by_state));
	moment->capacity = second->capacity;
	moment->health = second->health;
}

static void
incident_begin(IncidentFinder *finder, const RecordedSecond *second)
{
	Incident   *incident = &finder->incident;
	const RecordedSecond *before = second_before(finder, second);

	memset(incident, 0, offsetof(Incident, services));
	finder->open = true;
	incident->started_at = second->from;
	moment_set(&incident->before, before);
	services_note(incident, before, offsetof(IncidentService, before));
	finder->worst = finder->full = *second;
}

static void
note_events(IncidentFinder *finder, const RecordedSecond *second)
{
	for (int i = 0; i < second->nevents; i++)
	{
		const RecordedEvent *event = &second->events[i];

		if (event->type == EVENT_SERVER_STARTED)
		{
			finder->restarted = true;
			finder->incident.starts++;
		}
		else if (event->type == EVENT_HEALED)
		{
			finder->healed++;
			finder->incident.healed++;
		}
		else if (event->type == EVENT_CAPACITY && event->value > event->other)
		{
			finder->raised_to = (int) Min(event->value, PG_INT32_MAX);
			finder->raised_from = (int) Max(event->other, 0);
		}
	}
}

/* The latest of those seconds that had most of them. */
static void
note_borrowers(Incident *incident, const RecordedSecond *second)
{
	if (second->suspects[LEAK_BORROWED] == 0 || second->suspects[LEAK_BORROWED] < incident->borrowed)
		return;
	incident->borrowed = second->suspects[LEAK_BORROWED];
	incident->nborrowers = second->nborrowers;
	for (int i = 0; i < second->nborrowers; i++)
	{
		const RecordedBorrower *recorded = &second->borrowers[i];
		IncidentBorrower *borrower = &incident->borrowers[i];

		incident_service_name(second, &second->services[recorded->place], borrower->service);
		borrower->role = second->services[recorded->place].role;
		borrower->sessions = recorded->sessions;
		strlcpy(borrower->name, recorded->name, BORROWER_LEN);
	}
}

/* A second of the incident, or of the minute after it. */
static void
incident_add(IncidentFinder *finder, const RecordedSecond *second)
{
	Incident   *incident = &finder->incident;
	int			in_use = recorded_in_use(second);

	incident->last_at = Max(incident->last_at, second->to); /* the clock may be set back */
	incident->opened += second->opened;
	for (int i = 0; i < LEDGER_CAUSES; i++)
		incident->refused[i] += second->refused[i];
	services_count(incident, second);
	note_events(finder, second);
	note_borrowers(incident, second);
	if (in_use > recorded_in_use(&finder->worst))
		finder->worst = *second;
	if (in_use * 100 >= recorded_in_use(&finder->worst) * FULL_PERCENT)
		finder->full = *second;
}

static void
incident_ill(IncidentFinder *finder, const RecordedSecond *second)
{
	Incident   *incident = &finder->incident;

	if (!finder->open)
		incident_begin(finder, second);
	finder->calm = finder->restarted = false;
	finder->healed = finder->raised_to = 0;
	finder->last_ill = second->to;
	incident->worst_health = Max(incident->worst_health, second->health);
	if (second->run_id != 0)
		incident->run_id = second->run_id;
	incident_add(finder, second);
}

/* Returns the service that gave back most, NULL if none did. */
static const IncidentService *
service_given_back(const Incident *incident)
{
	const IncidentService *most = NULL;

	for (int i = 0; i < incident->nservices; i++)
	{
		const IncidentService *service = &incident->services[i];

		if (service->full > service->after && (most == NULL || service->full - service->after > most->full - most->after))
			most = service;
	}
	return most;
}

/* Why it ended, as far as that is seen. */
static void
judge_end(IncidentFinder *finder)
{
	Incident   *incident = &finder->incident;
	const IncidentService *most = service_given_back(incident);

	incident->end_by = most;
	incident->end_count = most != NULL ? most->full - most->after : 0;
	if (!finder->calm)
		incident->end = END_UNKNOWN;
	else if (finder->restarted)
		incident->end = END_RESTARTED;
	else if (finder->raised_to > 0)
	{
		incident->end = END_RAISED;
		incident->end_count = finder->raised_to;
		incident->end_before = finder->raised_from;
	}
	else if (finder->healed > 0)
	{
		incident->end = END_HEALED;
		incident->end_count = finder->healed;
	}
	else
		incident->end = most != NULL ? END_GIVEN_BACK : END_CALM;
}

/* It is over, or all that was recorded has been taken. */
static void
incident_close(IncidentFinder *finder, bool under_way)
{
	Incident   *incident = &finder->incident;

	moment_set(&incident->worst, &finder->worst);
	services_note(incident, &finder->worst, offsetof(IncidentService, worst));
	services_note(incident, &finder->full, offsetof(IncidentService, full));
	if (finder->calm)
	{
		moment_set(&incident->after, &finder->after);
		services_note(incident, &finder->after, offsetof(IncidentService, after));
	}
	qsort(incident->services, incident->nservices, sizeof(IncidentService), compare_services);
	incident->ended_at = under_way ? 0 : Max(finder->last_ill, incident->started_at);
	judge_end(finder);
	if (under_way)
		incident->end = END_UNDER_WAY;
	finder->found(incident, finder->arg);
	finder->open = false;
}

/* Seconds that are no part of it, until it is over. */
static void
incident_calm(IncidentFinder *finder, const RecordedSecond *second)
{
	if (!finder->calm)
		finder->after = *second;
	finder->calm = true;
	incident_add(finder, second);
}

void
incident_take(IncidentFinder *finder, const RecordedSecond *second)
{
	bool		ill = recorded_is_ill(second);

	/* The clock may have been set back by more than that, too. */
	if (finder->open && llabs(second->to - finder->last_ill) > INCIDENT_CALM_US)
		incident_close(finder, false);
	if (second->kind == RECORDED_GAP && finder->open)
		finder->incident.unmeasured_ms += (second->to - second->from) / 1000;
	if (second->kind != RECORDED_SECOND)
		return;
	if (ill)
		incident_ill(finder, second);
	else if (finder->open)
		incident_calm(finder, second);
	minute_note(finder, second);
	finder->last_to = second->to;
}

/* There are no more seconds. */
void
incident_finish(IncidentFinder *finder, TimestampTz now)
{
	if (finder->open)
		incident_close(finder, finder->last_to > now - FRESH_US && finder->last_ill > now - INCIDENT_CALM_US);
	pfree(finder->minutes);
	pfree(finder);
}
