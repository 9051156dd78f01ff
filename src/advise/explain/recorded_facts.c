/*
 * recorded_facts.c
 *		What explanations are judged by, at a past moment: from what was recorded.
 *
 * No session was recorded by itself, but how many each service had in each state.  So many
 * sessions are made here.  What is said of one of them is what must be so for as many of them,
 * at the least: a service that has grown by ten in a minute has ten that are no older; and
 * what cannot be counted like that stays unknown.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/timestamp.h"

#include "advise/explain/recorded_facts.h"
#include "advise/incident/report.h"
#include "observe/recorder/recording.h"
#include "shmem/names.h"

#define MINUTE_US		(FACTS_SLICES * FACTS_SLICE_S * USECS_PER_SEC)
#define SLICE_US		(FACTS_SLICE_S * USECS_PER_SEC)

/* The last second stands for what is not over yet, so much longer than it took itself. */
#define LATE_US			USECS_PER_SEC

/* A gap that ends later than that after the moment is not looked for. */
#define AFTER_US		USECS_PER_HOUR

/* Logins under way are followed through so many seconds. */
#define LOGINS_MAX		1024

/* So many services are named as refused, so many events as what happened. */
#define REFUSED_SHOWN	3
#define EVENTS_SHOWN	8

/* What became of logins in a second. */
typedef struct Logins
{
	TimestampTz to;
	int			under_way;		/* at one moment of it */
	uint64		ended;			/* in all of it */
} Logins;

/* What clients that gave this name were refused. */
typedef struct RefusedService
{
	char		name[SERVICE_LEN];	/* must be first: the key of the table */
	Oid			role;
	uint64		refused;
} RefusedService;

/* The time before the moment, as it is read. */
typedef struct Past
{
	TimestampTz at;
	bool		(*may_see) (Oid role);
	RecordedSecond last;		/* that began by then */
	RecordedSecond emptiest;	/* of the hour before */
	RecordedSecond minute_ago;	/* the emptiest of the first slice of time that has any */
	RecordedSecond slice_ago;	/* the last one before the last of these */
	int			minute_slice;	/* which that is */
	TimelineSlice slices[FACTS_SLICES];
	Logins		logins[LOGINS_MAX]; /* a ring */
	int			nlogins;
	TimestampTz blind_since;	/* 0: refusals are counted */
	uint64		refused[LEDGER_CAUSES]; /* these four in the minute before */
	HTAB	   *refused_services;
	int64		unmeasured_us;
	IncidentEvents events;
	RecordedSecond gap;			/* that the moment is in */
	RecordedSecond after;		/* the second after that */
} Past;

/* ---------- The minute before ---------- */

static void
note_refused(Past *past, const RecordedSecond *second)
{
	for (int i = 0; i < LEDGER_CAUSES; i++)
		past->refused[i] += second->refused[i];
	foreach_recorded_service(second, service)
	{
		char		name[SERVICE_LEN] = {0};
		RefusedService *refused;
		bool		found;

		if (service->refused == 0)
			continue;
		incident_service_name(second, service, name);
		refused = hash_search(past->refused_services, name, HASH_ENTER, &found);
		refused->refused = (found ? refused->refused : 0) + service->refused;
		refused->role = found && OidIsValid(refused->role) ? refused->role : service->role;
	}
}

/* The row that the timeline had of it. */
static TimelineRow
timeline_row(const RecordedSecond *second)
{
	TimelineRow row = {.at = second->to, .in_use = recorded_in_use(second), .capacity = second->capacity, .health = second->health,
	.opened = second->opened};

	for (int i = 0; i < LEDGER_CAUSES; i++)
		row.refused += cause_kinds[i].takes_slots ? second->refused[i] : 0;
	return row;
}

static void
note_slice(Past *past, const RecordedSecond *second)
{
	TimelineRow row = timeline_row(second);
	int			slice = (int) Min(Max((second->to - past->at + MINUTE_US) / SLICE_US, 0), FACTS_SLICES - 1);

	timeline_slice_add(&past->slices[slice], &row);
	if (past->minute_ago.to == 0 || (slice == past->minute_slice && row.in_use < recorded_in_use(&past->minute_ago)))
	{
		past->minute_slice = slice;
		past->minute_ago = *second;
	}
	if (second->to <= past->at - SLICE_US)
		past->slice_ago = *second;
}

/* Since when refusals are not counted. */
static void
note_blindness(Past *past, const RecordedSecond *second)
{
	if (recorded_refusals_known(second))
		past->blind_since = 0;
	else if (past->blind_since == 0)
		past->blind_since = second->from;
}

static void
note_logins(Past *past, const RecordedSecond *second)
{
	past->logins[past->nlogins++ % LOGINS_MAX] =
		(Logins) {second->to, second->by_state[SLOT_AUTHENTICATING], second->opened + recorded_refused(second)};
}

/* ---------- Second after second ---------- */

static void
note_second(Past *past, const RecordedSecond *second)
{
	if (second->to > past->at - RECORDING_LOOKBACK_US && (past->emptiest.to == 0 || recorded_in_use(second) < recorded_in_use(&past->emptiest)))
		past->emptiest = *second;
	if (second->to <= past->at - MINUTE_US)
		return;
	incident_events_add(&past->events, second, past->may_see);
	note_refused(past, second);
	note_slice(past, second);
	note_logins(past, second);
	note_blindness(past, second);
	past->last = *second;
}

/* Time that was not measured */
static void
note_gap(Past *past, const RecordedSecond *gap)
{
	past->unmeasured_us += Max(Min(gap->to, past->at) - Max(gap->from, past->at - MINUTE_US), 0);
	if (gap->from <= past->at && gap->to > past->at)
		past->gap = *gap;
}

/* Reads until the second of the moment has come, or the first after it. */
static void
past_read(Past *past, int blocks_max)
{
	Recording  *recording = recording_open(past->at - RECORDING_LOOKBACK_US, past->at + AFTER_US, RECORDING_ALL, blocks_max);
	const RecordedSecond *second;
	bool		before = false; /* a second before it has come: where the clock was set back, later ones come first */

	while ((second = recording_next(recording)) != NULL)
	{
		if (second->kind == RECORDED_GAP)
			note_gap(past, second);
		else if (second->from > past->at)
		{
			past->after = *second;
			if (before || past->gap.to != 0)
				break;
		}
		else
		{
			note_second(past, second);
			before = true;
			if (second->to > past->at)
				break;
		}
	}
	recording_close(recording);
}

/* Was the moment recorded?  What is under way is not yet: the second before it stands for that. */
static bool
is_recorded(const Past *past)
{
	const RecordedSecond *last = &past->last;

	if (last->to == 0 || past->gap.to != 0)
		return false;
	return past->at < last->to || (past->after.to == 0 && past->at - last->to <= last->to - last->from + LATE_US);
}

/* Returns why it was not recorded, as far as that is known. */
static const char *
why_not(const Past *past)
{
	IncidentEvents after = {0};

	if (past->gap.to == 0)
		return "The file of the recorder has no second of that moment: it was off, or the moment is before the first second that is kept, or to come.";
	incident_events_add(&after, &past->after, past->may_see);
	return psprintf("Nothing was recorded between %s and %s.%s", moment_text(past->gap.from), moment_text(past->gap.to),
					after.n > 0 ? psprintf(" After that: %s.", after.event[0].text) : "");
}

/* ---------- What is said beside ---------- */

static int
compare_refused(const ListCell *a, const ListCell *b)
{
	const RefusedService *x = lfirst(a);
	const RefusedService *y = lfirst(b);

	if (x->refused != y->refused)
		return x->refused < y->refused ? 1 : -1;
	return strcmp(x->name, y->name);
}

/* Says which logins were refused, by service and cause. */
static void
say_refused(StringInfo out, const Past *past)
{
	HASH_SEQ_STATUS seq;
	RefusedService *service;
	List	   *services = NIL;
	ListCell   *cell;
	const char *between = " (";

	hash_seq_init(&seq, past->refused_services);
	while ((service = hash_seq_search(&seq)) != NULL)
		services = lappend(services, service);
	if (services == NIL)
		return;
	list_sort(services, compare_refused);
	appendStringInfoString(out, "Refused in the last minute: ");
	foreach(cell, services)
	{
		service = lfirst(cell);
		if (foreach_current_index(cell) == REFUSED_SHOWN)
			break;
		appendStringInfo(out, "%s%s " UINT64_FORMAT, foreach_current_index(cell) > 0 ? ", " : "",
						 past->may_see(service->role) ? service->name : "a service that is not shown", service->refused);
	}
	for (int i = 0; i < LEDGER_CAUSES; i++)
		if (past->refused[i] > 0)
		{
			appendStringInfo(out, "%s%s " UINT64_FORMAT, between, cause_kinds[i].name, past->refused[i]);
			between = ", ";
		}
	appendStringInfoString(out, "). ");
}

/* Says which service has grown most since the emptiest second of the hour before. */
static void
say_grown(StringInfo out, const Past *past)
{
	int			most = 0;
	const RecordedService *grown = NULL;
	char		name[SERVICE_LEN];

	foreach_recorded_service(&past->last, service)
	{
		incident_service_name(&past->last, service, name);
		if (recorded_service_in_use(service) - incident_service_in_use(&past->emptiest, name) > most)
		{
			most = recorded_service_in_use(service) - incident_service_in_use(&past->emptiest, name);
			grown = service;
		}
	}
	if (grown == NULL)
		return;
	incident_service_name(&past->last, grown, name);
	appendStringInfo(out, "Grown most since %s: %s, from %d to %d. ", clock_text(past->emptiest.to),
					 past->may_see(grown->role) ? name : "a service that is not shown", recorded_service_in_use(grown) - most, recorded_service_in_use(grown));
}

static void
say_events(StringInfo out, const IncidentEvents *events)
{
	int			more = Max(events->n - EVENTS_SHOWN, 0) + events->more;

	if (events->n == 0)
		return;
	appendStringInfoString(out, "In the last minute: ");
	for (int i = 0; i < Min(events->n, EVENTS_SHOWN); i++)
		appendStringInfo(out, "%s%s", i > 0 ? "; " : "", events->event[i].text);
	appendStringInfo(out, "%s. ", more > 0 ? psprintf("; and %d more", more) : "");
}

/* Returns what else was recorded, palloc'd. */
static char *
recorded_beside(const Past *past)
{
	StringInfoData out;

	initStringInfo(&out);
	say_grown(&out, past);
	say_refused(&out, past);
	say_events(&out, &past->events);
	if (past->unmeasured_us >= USECS_PER_SEC)
		appendStringInfo(&out, "Of that minute %d s were not measured. ", (int) (past->unmeasured_us / USECS_PER_SEC));
	appendStringInfo(&out, "As recorded at %s.", moment_text(past->last.to));
	return out.data;
}

/* ---------- Pools ---------- */

/* What was refused of that cause in the minute before. */
static int64
pool_refused(const Past *past, int kind)
{
	switch (kind)
	{
		case POOL_ROLE:
			return (int64) past->refused[CAUSE_ROLE_LIMIT];
		case POOL_DATABASE:
			return (int64) past->refused[CAUSE_DATABASE_LIMIT];
		default:
			return (int64) past->refused[CAUSE_WALSENDER_LIMIT];
	}
}

static PoolRow
pool_row(const Past *past, const RecordedPool *pool)
{
	PoolRow		row = {.limit = {.oid = pool->oid, .kind = (PoolKind) pool->kind, .capacity = pool->capacity},
	.in_use = pool->in_use, .health = pool->health, .refused = pool_refused(past, pool->kind)};

	if (pool->name[0] != '\0')
		strlcpy(row.limit.name, pool->name, NAMEDATALEN);
	else
		snprintf(row.limit.name, NAMEDATALEN, "with OID %u", pool->oid);
	return row;
}

/* The server first; a file may have kinds that this version does not know. */
static void
set_pools(Facts *facts, const Past *past)
{
	const RecordedSecond *second = &past->last;
	PoolRow    *pools = palloc0(sizeof(PoolRow) * (1 + second->npools));
	int			n = 1;

	pools[0] = (PoolRow) {.limit = {.kind = POOL_SERVER, .name = "server", .capacity = second->capacity},
	.in_use = recorded_in_use(second), .health = second->health};
	for (int i = 0; i < second->npools; i++)
		if (second->pools[i].kind >= 0 && second->pools[i].kind < POOL_KINDS)
			pools[n++] = pool_row(past, &second->pools[i]);
	facts_set_pools(facts, pools, n);
}

/* ---------- Sessions ---------- */

/* No server has more; a file may say anything. */
#define SESSIONS_MAX	(1 << 18)

/* How many there are, and room for one more */
static int
sessions_of(const RecordedSecond *second)
{
	int64		n = 1 + second->by_state[SLOT_AUTHENTICATING];

	foreach_recorded_service(second, service)
		n += recorded_service_in_use(service);
	return (int) Min(n, SESSIONS_MAX);
}

static SessionFacts *
session_add(Facts *facts, SlotState state)
{
	SessionFacts *session = &facts->sessions[facts->nsessions++];

	session->slot.state = state;
	session->state_ms = -1;
	session->age_ms = PG_INT64_MAX;
	return session;
}

/* How long "n" logins were under way at the least: as many were, and fewer have ended since. */
static int64
logins_ms(const Past *past, int n)
{
	int64		longest_ms = 0;
	int64		ended = 0;

	for (int i = past->nlogins - 1; i >= Max(past->nlogins - LOGINS_MAX, 0); i--)
	{
		const Logins *logins = &past->logins[i % LOGINS_MAX];

		ended += (int64) logins->ended;
		if (logins->under_way - ended >= n)
			longest_ms = Max(longest_ms, (past->last.from - logins->to) / 1000);
	}
	return longest_ms;
}

static void
add_logins(Facts *facts, const Past *past)
{
	for (int i = 1; i <= past->last.by_state[SLOT_AUTHENTICATING] && facts->nsessions < SESSIONS_MAX; i++)
	{
		SessionFacts *session = session_add(facts, SLOT_AUTHENTICATING);

		session->pressed = facts_press(facts, &session->slot);
		session->state_ms = logins_ms(past, i);
	}
}

/* Returns the service, by role and application_name; what stands for it, where names were not recorded. */
static HeldService *
add_service(Facts *facts, const Past *past, const RecordedService *recorded, const char *name)
{
	ServiceKey	key = {.role = recorded->role};
	bool		named = recorded->usename[0] != '\0' || recorded->application_name[0] != '\0';
	HeldService *service;

	strlcpy(key.application_name, named ? recorded->application_name : name, NAMEDATALEN);
	service = facts_service(facts, &key);
	service->name = past->may_see(recorded->role) ? pstrdup(name) : "a service that is not shown";
	service->in_use += recorded_service_in_use(recorded);
	service->idle += recorded->by_state[SLOT_IDLE];
	return service;
}

/* Adds the sessions of a service; so many of them are as young as a minute, and ten seconds. */
static void
add_sessions(Facts *facts, const Past *past, const RecordedService *recorded)
{
	char		name[SERVICE_LEN];
	HeldService *service;
	int			since_minute;
	int			since_slice;
	int			n = 0;

	if (recorded_service_in_use(recorded) == 0)
		return;
	incident_service_name(&past->last, recorded, name);
	service = add_service(facts, past, recorded, name);
	since_minute = recorded_service_in_use(recorded) - incident_service_in_use(&past->minute_ago, name);
	since_slice = past->slice_ago.to != 0 ? recorded_service_in_use(recorded) - incident_service_in_use(&past->slice_ago, name) : 0;
	for (SlotState state = SLOT_AUTHENTICATING + 1; state < SLOT_STATES; state++)
		for (int i = 0; i < recorded->by_state[state] && facts->nsessions < SESSIONS_MAX; i++, n++)
		{
			SessionFacts *session = session_add(facts, state);

			session->slot.role = recorded->role;
			session->service = service;
			session->of_run = strncmp(recorded->usename, ROLE_PREFIX, strlen(ROLE_PREFIX)) == 0;
			session->pressed = facts_press(facts, &session->slot);
			session->age_ms = n < since_slice ? 0 : n < since_minute ? FACTS_SLICE_S * 1000 + 1 : PG_INT64_MAX;
		}
}

/* ---------- Suspects ---------- */

/* States that suspects may be in */
#define ANY_STATE	SLOT_STATES

static bool
can_be_suspect(const SessionFacts *session, SlotState state)
{
	return session->rule == LEAK_NONE && session->service != NULL && (state == ANY_STATE || session->slot.state == state);
}

/* Returns the only service that has such sessions, or NULL. */
static HeldService *
only_service(const Facts *facts, SlotState state)
{
	HeldService *only = NULL;

	foreach_session(facts, session)
	{
		if (!can_be_suspect(session, state))
			continue;
		if (only != NULL && session->service != only)
			return NULL;
		only = session->service;
	}
	return only;
}

/* Suspects "n" of these sessions, of a service that is known if they can be of one alone; returns how many are left. */
static int
suspect(const Facts *facts, LeakRule rule, int n, SlotState state)
{
	HeldService *only = only_service(facts, state);

	foreach_session(facts, session)
	{
		if (n == 0 || !can_be_suspect(session, state))
			continue;
		session->rule = rule;
		session->service = only;
		n--;
	}
	return n;
}

/* They are recorded by rule. */
static void
add_suspects(const Facts *facts, const RecordedSecond *second)
{
	for (LeakRule rule = LEAK_NONE + 1; rule < LEAK_RULES; rule++)
	{
		int			left = suspect(facts, rule, second->suspects[rule], leak_rules[rule]->state);

		suspect(facts, rule, left, ANY_STATE);
	}
}

/* ---------- The facts ---------- */

static Past *
past_begin(TimestampTz at, bool (*may_see) (Oid role))
{
	Past	   *past = palloc0(sizeof(Past));
	HASHCTL		ctl = {.keysize = SERVICE_LEN, .entrysize = sizeof(RefusedService), .hcxt = CurrentMemoryContext};

	past->at = at;
	past->may_see = may_see;
	past->refused_services = hash_create("pool_exhaust refused services", 64, &ctl, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	return past;
}

static Facts *
facts_of(const Past *past)
{
	const RecordedSecond *second = &past->last;
	FactsSource *source = palloc0(sizeof(FactsSource));
	Facts	   *facts;

	*source = (FactsSource) {.may_see = past->may_see, .monitors = facts_monitors_unknown, .exempt = facts_exempt_unknown};
	facts = facts_begin(source, sessions_of(second));
	facts->now = second->to;
	facts->watched = true;
	facts->blind_since = past->blind_since;
	facts->run_id = second->run_id;
	facts->census = (Census) {.capacity = second->capacity, .in_use = recorded_in_use(second), .authenticating = second->by_state[SLOT_AUTHENTICATING]};
	memcpy(facts->slices, past->slices, sizeof(facts->slices));
	facts->recorded = recorded_beside(past);
	set_pools(facts, past);
	add_logins(facts, past);
	foreach_recorded_service(second, service)
		add_sessions(facts, past, service);
	add_suspects(facts, second);
	facts_compare_services(facts);
	return facts;
}

Facts *
facts_recorded(TimestampTz at, int blocks_max, bool (*may_see) (Oid role), const char **why)
{
	Past	   *past = past_begin(at, may_see);

	past_read(past, blocks_max);
	if (is_recorded(past))
		return facts_of(past);
	*why = why_not(past);
	return NULL;
}
