/*
 * explain.c
 *		What is wrong, in one sentence each, the most important first.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "advise/explain/explain.h"
#include "advise/explain/recorded_facts.h"
#include "advise/incident/report.h"
#include "base/text.h"
#include "observe/slots/ledger.h"
#include "shmem/names.h"

/* Services that are named as holders of slots. */
#define HOLDERS_SHOWN	3

const char *const confidence_names[] = {CONFIDENCE_LIST(LIST_WORD)};

#define EXPLANATION_ROW(row)	&explanation_##row,
static const Explanation *const explanations[] = {EXPLANATION_LIST(EXPLANATION_ROW)};

/* ---------- The sessions of an explanation ---------- */

/*
 * Returns "12 sessions of app/web and 3 others are", or "1 session of app/web is"; "90 sessions
 * are" where it is not known of which service.  palloc'd.
 */
char *
crowd_text(const Crowd *crowd)
{
	int			named = crowd->service != NULL ? crowd->of_service : crowd->n;
	int			others = crowd->n - named;
	const char *of = crowd->service != NULL ? psprintf(" of %s", crowd->service->name) : "";

	return psprintf("%d session%s%s%s %s", named, named == 1 ? "" : "s", of,
					others > 0 ? psprintf(" and %d other%s", others, others == 1 ? "" : "s") : "", crowd->n == 1 ? "is" : "are");
}

/* Returns ", the longest for 12 s", palloc'd; empty if that is not known. */
char *
longest_text(const Crowd *crowd)
{
	return crowd->longest->state_ms >= 0 ? psprintf(", the longest for %s", seconds_text(crowd->longest->state_ms)) : pstrdup("");
}

/* Returns how many of its sessions are of that service. */
static int
sessions_of_service(const Facts *facts, const Explanation *explanation, const HeldService *service)
{
	int			n = 0;

	foreach_session_of(facts, explanation, session)
		n += session->service == service;
	return n;
}

static Crowd
crowd_of(const Facts *facts, const Explanation *explanation)
{
	Crowd		crowd = {0};
	HASH_SEQ_STATUS seq;
	HeldService *service;
	HeldService *most = NULL;

	foreach_session_of(facts, explanation, session)
	{
		crowd.n++;
		crowd.pressed += session->pressed;
		if (crowd.longest == NULL || session->state_ms > crowd.longest->state_ms)
			crowd.longest = session;
	}
	if (crowd.n == 0)
		return crowd;
	hash_seq_init(&seq, facts->services);
	while ((service = hash_seq_search(&seq)) != NULL)
	{
		/* It has not more than all of its sessions. */
		int			n = service->in_use > crowd.of_service ? sessions_of_service(facts, explanation, service) : 0;

		if (n > crowd.of_service)
		{
			crowd.of_service = n;
			most = service;
		}
	}
	if (most != NULL)
		service_require_name(facts, most);
	crowd.service = most;
	return crowd;
}

/* Finds for each session what accounts for it. */
static void
sessions_explain(const Facts *facts)
{
	foreach_session(facts, session)
	{
		for (int i = 0; i < EXPLANATIONS && session->explained_by == NULL; i++)
			if (explanations[i]->accounts_for != NULL && explanations[i]->accounts_for(explanations[i], facts, session))
				session->explained_by = explanations[i];
	}
}

/* ---------- What is said with the first cause ---------- */

/* Returns how full the server is, as the begin of a sentence, palloc'd. */
static char *
state_text(const Facts *facts)
{
	const PoolRow *server = &facts->pools[0];
	uint64		refused = facts_refused(facts);
	char	   *in_use = psprintf("%d of %d slots in use", server->in_use, server->limit.capacity);

	if (server->in_use >= server->limit.capacity)
		return psprintf("Full, %s", in_use);
	if (refused > 0)
		return psprintf(UINT64_FORMAT " login%s refused in the last minute, %s", refused, refused == 1 ? "" : "s", in_use);
	return psprintf("%s%s", server->health >= HEALTH_CRITICAL ? "Nearly full, " : "", in_use);
}

static int
compare_services(const ListCell *a, const ListCell *b)
{
	const HeldService *x = lfirst(a);
	const HeldService *y = lfirst(b);

	int			difference = y->in_use - x->in_use;

	if (difference == 0)
		difference = strcmp(x->key.application_name, y->key.application_name);
	return difference != 0 ? difference : (x->key.role > y->key.role) - (x->key.role < y->key.role);
}

/* Returns "app/web 80, app/batch 10, 2 others 5", palloc'd. */
static char *
holders_text(const Facts *facts)
{
	StringInfoData text;
	HASH_SEQ_STATUS seq;
	HeldService *service;
	List	   *services = NIL;
	ListCell   *cell;
	int			others = 0;

	hash_seq_init(&seq, facts->services);
	while ((service = hash_seq_search(&seq)) != NULL)
		services = lappend(services, service);
	list_sort(services, compare_services);
	initStringInfo(&text);
	foreach(cell, services)
	{
		service = lfirst(cell);
		if (foreach_current_index(cell) < HOLDERS_SHOWN)
		{
			service_require_name(facts, service);
			appendStringInfo(&text, "%s%s %d", text.len > 0 ? ", " : "", service->name, service->in_use);
		}
		else
			others += service->in_use;
	}
	if (others > 0)
		appendStringInfo(&text, ", %d others %d", list_length(services) - HOLDERS_SHOWN, others);
	return text.data;
}

/* Returns the entry of the ledger that was refused most, of those refused since then, or NULL. */
static NameEntry *
most_refused(TimestampTz since)
{
	NameEntry  *most = NULL;

	for (int i = 0; i < ADDRESS_SCOPES * NAMES_MAX; i++)
	{
		NameEntry  *entry = names_entry(&shared->refused[i / NAMES_MAX], i % NAMES_MAX);

		if (entry != NULL && (TimestampTz) pg_atomic_read_u64(&entry->last_at) >= since &&
			(most == NULL || pg_atomic_read_u64(&entry->count) > pg_atomic_read_u64(&most->count)))
			most = entry;
	}
	return most;
}

/* Returns which service was refused, and from where, palloc'd; NULL: none was, in the last minute. */
static char *
refused_text(const Facts *facts, const FactsSource *source)
{
	NameEntry  *entry = most_refused(facts->now - FACTS_SLICES * FACTS_SLICE_S * USECS_PER_SEC);
	const Names *names;
	uint64		count;

	if (entry == NULL)
		return NULL;
	names = &entry->names;
	count = pg_atomic_read_u64(&entry->count);
	if (!source->may_see(InvalidOid))
		return psprintf("logins for cause %s", cause_kinds[names->cause].name);
	return psprintf("%s/%s of database %s, from %s, for cause %s, " UINT64_FORMAT " time%s so far",
					names->usename, names->application_name, names->datname,
					names->client_addr[0] != '\0' ? names->client_addr : "this host", cause_kinds[names->cause].name,
					count, count == 1 ? "" : "s");
}

/* Returns what there is to say beside the slots, palloc'd. */
static char *
beside_text(const Facts *facts)
{
	const char *refused;

	if (facts->recorded != NULL)
		return psprintf(" %s", facts->recorded);
	refused = refused_text(facts, facts->source);
	return refused != NULL ? psprintf(" Refused in the last minute: %s.", refused) : pstrdup("");
}

/* The first finding says how things are, too: how full, what holds the slots, what was refused. */
static void
introduce(const Facts *facts, Finding *first)
{
	char	   *holders = holders_text(facts);

	first->sentence = psprintf("%s: %s.", state_text(facts), first->sentence);
	first->evidence = psprintf("%s%sSlots: %s.%s", first->evidence != NULL ? first->evidence : "", first->evidence != NULL ? " " : "",
							   holders[0] != '\0' ? holders : "none", beside_text(facts));
}

/* ---------- The answer ---------- */

static const char *const service_step =
"SELECT service, in_use, active, idle, idle_in_transaction, peak_in_use FROM pool_exhaust_services ORDER BY in_use DESC LIMIT 10;";

/* The server has little left, and no cause accounts for half of that. */
static bool
judge_rest(const Facts *facts, const Finding *findings, int n, Finding *rest)
{
	int			left = facts->pools[0].in_use;
	int			by_state[SLOT_STATES] = {0};
	const char *in_transaction;

	if (!pool_is_pressed(&facts->pools[0]))
		return false;
	for (int i = 0; i < n; i++)
		left -= findings[i].urgent ? findings[i].weight : 0;
	if (left < (facts->pools[0].in_use + 1) / 2)
		return false;
	foreach_session(facts, session)
		by_state[session->slot.state] += session->explained_by == NULL;
	in_transaction = by_state[SLOT_IDLE_IN_TRANSACTION] == 0 ? "" : psprintf(", %d idle in transaction", by_state[SLOT_IDLE_IN_TRANSACTION]);
	*rest = (Finding) {
		.cause = "no single cause",
		.place = EXPLANATIONS,
		.urgent = true,
		.weight = left,
		.confidence = CONFIDENCE_CANNOT_TELL,
		.sentence = psprintf("%d slots are held by sessions that nothing is seen to be wrong with, %d of them idle%s", left, by_state[SLOT_IDLE], in_transaction),
		.evidence = "If they belong to pools, these are larger than the server has slots for.",
		.next_step = service_step,
	};
	return true;
}

static void
judge_healthy(const Facts *facts, Finding *finding)
{
	*finding = (Finding) {
		.cause = "healthy",
		.confidence = CONFIDENCE_LIKELY,
		.sentence = "nothing is seen to be wrong",
		.next_step = service_step,
	};
}

/* Those that are urgent come first, then those that account for most; otherwise it is as in the list. */
static int
compare_findings(const void *a, const void *b)
{
	const Finding *x = a;
	const Finding *y = b;

	if (x->urgent != y->urgent)
		return x->urgent ? -1 : 1;
	if (x->weight != y->weight)
		return y->weight - x->weight;
	return x->place - y->place;
}

/* Can it be judged by these facts? */
static bool
is_known(const Facts *facts, const Explanation *explanation)
{
	return facts->recorded == NULL || explanation->recorded;
}

/* Fills in what is wrong, the most important first; returns how many there are. */
static int
judge(const Facts *facts, Finding *findings)
{
	int			n = 0;

	sessions_explain(facts);
	for (int i = 0; i < EXPLANATIONS; i++)
	{
		Crowd		crowd = crowd_of(facts, explanations[i]);

		if (!is_known(facts, explanations[i]))
			continue;
		findings[n] = (Finding) {.cause = explanations[i]->name, .place = i, .urgent = crowd.pressed > 0, .weight = crowd.n};
		n += explanations[i]->judge(explanations[i], facts, &crowd, &findings[n]);
	}
	n += judge_rest(facts, findings, n, &findings[n]);
	if (n == 0)
		judge_healthy(facts, &findings[n++]);
	qsort(findings, n, sizeof(Finding), compare_findings);
	introduce(facts, &findings[0]);
	for (int i = 1; i < n; i++)
		findings[i].sentence = psprintf("%c%s.", pg_toupper(findings[i].sentence[0]), findings[i].sentence + 1);
	return n;
}

/*
 * Fills in what is wrong, FINDINGS_MAX at the most, the most important first, and returns
 * how many there are: one at the least, which says "healthy" if nothing is.  Texts are in
 * the current memory context.  Takes the lock for moments; the library must be preloaded.
 */
int
explain(const FactsSource *source, Finding *findings)
{
	return judge(facts_read(source), findings);
}

/* ---------- A past moment ---------- */

/* What a statement of now would show is not what was then: the story of that time has it. */
static char *
recorded_step(TimestampTz at)
{
	return psprintf("SELECT pool_exhaust_incident('%s');", moment_text(at));
}

/* Says which causes were not judged. */
static void
say_not_judged(const Facts *facts, Finding *finding)
{
	StringInfoData causes;

	initStringInfo(&causes);
	for (int i = 0; i < EXPLANATIONS; i++)
		if (!is_known(facts, explanations[i]))
			appendStringInfo(&causes, "%s%s", causes.len > 0 ? ", " : "", explanations[i]->name);
	*finding = (Finding) {
		.cause = "not judged",
		.confidence = CONFIDENCE_CANNOT_TELL,
		.sentence = psprintf("Whether there was any of these is not recorded: %s.", causes.data),
	};
}

/* Nothing is known of that moment. */
static int
say_not_recorded(TimestampTz at, const char *why, Finding *finding)
{
	*finding = (Finding) {
		.cause = "not recorded",
		.confidence = CONFIDENCE_CANNOT_TELL,
		.sentence = psprintf("Nothing was recorded at %s.", moment_text(at)),
		.evidence = why,
		.next_step = "SELECT name, setting FROM pg_settings WHERE name LIKE 'pool_exhaust.recorder%';",
	};
	return 1;
}

/*
 * The same of a past moment, as far as it was recorded; the last row names the causes that
 * were not judged.  Reads no more than so many blocks of the recorder's file.
 */
int
explain_at(TimestampTz at, int blocks_max, bool (*may_see) (Oid role), Finding *findings)
{
	const char *why;
	const Facts *facts = facts_recorded(at, blocks_max, may_see, &why);
	int			n;

	if (facts == NULL)
		return say_not_recorded(at, why, &findings[0]);
	n = judge(facts, findings);
	say_not_judged(facts, &findings[n++]);
	for (int i = 0; i < n; i++)
		findings[i].next_step = recorded_step(facts->now);
	return n;
}

/* Returns the libraries that are preloaded, and this one, as a list of literals, palloc'd. */
static char *
libraries_wanted(void)
{
	List	   *libraries;
	ListCell   *cell;
	StringInfoData text;

	initStringInfo(&text);
	if (SplitDirectoriesString(pstrdup(shared_preload_libraries_string), ',', &libraries))
		foreach(cell, libraries)
			appendStringInfo(&text, "%s, ", quote_literal_cstr(lfirst(cell)));
	appendStringInfoString(&text, "'pool_exhaust'");
	return text.data;
}

/* The same where the library was not preloaded: there is no shared memory to read. */
int
explain_without_library(Finding *finding, bool may_see_settings)
{
	*finding = (Finding) {
		.cause = "not preloaded",
		.confidence = CONFIDENCE_CANNOT_TELL,
		.sentence = "The library of pool_exhaust was not preloaded, so that it sees nothing.",
		.evidence = "It takes a line of configuration, and a restart of the server.",
		.next_step = may_see_settings ? psprintf("ALTER SYSTEM SET shared_preload_libraries = %s;", libraries_wanted())
		: "SHOW shared_preload_libraries;",
	};
	return 1;
}
