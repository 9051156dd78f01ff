/*
 * document.c
 *		The budget as a document with a verdict, like a run's: each limit in each
 *		situation is a check.
 */
#include "postgres.h"

#include <math.h>

#include "pgtime.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "advise/budget/budget.h"
#include "report/data.h"
#include "shmem/shared.h"

/* What is worth more than a check of its own: the limit that is hit first. */
typedef struct FirstLimit
{
	const BudgetLimit *limit;	/* NULL: none is hit */
	Situation	situation;
	Crossing	crossing;
} FirstLimit;

/* What all the parts are made from. */
typedef struct Document
{
	Budget		budget;
	ReportData *data;
	FirstLimit	first;
	List	   *proposals;
	const char *isolation;
} Document;

static bool
is_limited(const BudgetLimit *limit)
{
	return !isinf(limit->capacity);
}

/* Returns the limit that is nearest to being hit, or furthest beyond, in this situation; NULL if there is none. */
static const BudgetLimit *
nearest_limit(const Budget *budget, Situation situation)
{
	const BudgetLimit *nearest = NULL;
	double		most = -1;
	ListCell   *cell;

	foreach(cell, budget->limits)
	{
		const BudgetLimit *limit = lfirst(cell);
		double		demand = limit->demand[situation];
		double		used = limit->capacity > 0 ? demand / limit->capacity : demand > 0 ? INFINITY : 0;

		if (is_limited(limit) && used > most)
		{
			nearest = limit;
			most = used;
		}
	}
	return nearest;
}

/* If all services grow in proportion, the nearest one is hit first; the situations come in their order. */
static FirstLimit
first_limit(const Budget *budget)
{
	for (int s = 0; s < SITUATIONS; s++)
	{
		const BudgetLimit *limit = nearest_limit(budget, s);

		if (limit != NULL && limit_is_hit(limit, s))
			return (FirstLimit) {limit, s, limit_crossing(limit, s)};
	}
	return (FirstLimit) {NULL};
}

/* ---------- Sentences ---------- */

/* Returns "replica 3 of 6 of service shop". */
static char *
crossing_text(const Crossing *crossing, Situation situation)
{
	const Share *share = crossing->share;

	if (crossing->unit == 0)
		return psprintf("%s", share->name);
	return psprintf("%s %.0f of %.0f of %s", share->unit, crossing->unit, share->demand[situation] / share->per_unit, share->name);
}

/* Returns "100 connections fit, the next is refused (role_limit), in replica 3 of 6 of service shop". */
static char *
hit_text(const BudgetLimit *limit, Situation situation)
{
	Crossing	crossing = limit_crossing(limit, situation);

	return psprintf("%.0f connections fit, the next is refused (%s), in %s", crossing.connections,
					cause_kinds[limit->cause].name, crossing_text(&crossing, situation));
}

/* Returns what setting it to would help, "" if nothing simple would, or what keeps that from helping. */
static char *
raise_text(const Budget *budget, const BudgetLimit *limit)
{
	double		number = ceil((limit_worst(limit) + limit->beside) / limit->parts);
	double		more_mb = (limit_worst(limit) - limit->capacity) * limit->each_kib / 1024;
	double		available_mb = budget->memory.available_kib / 1024;

	if (limit->raise == NULL)
		return "";
	if (more_mb > available_mb)
		return psprintf("; %s %.0f does not fit, for it takes %.0f MB more, and %.0f MB are available", limit->raise, number, more_mb, available_mb);
	if (more_mb > 0)
		return psprintf(", or %s %.0f, which takes up to %.0f MB more, and %.0f MB are available", limit->raise, number, more_mb, available_mb);
	return psprintf(", or %s %.0f", limit->raise, number);
}

static char *
failure_detail(const Budget *budget, const BudgetLimit *limit, Situation situation)
{
	double		excess = limit->demand[situation] - limit->capacity;

	return psprintf("%s: make pools or replicas smaller by %.0f connections%s", hit_text(limit, situation), excess, raise_text(budget, limit));
}

static char *
memory_text(const BudgetMemory *memory)
{
	if (!memory->known)
		return pstrdup("that of sessions cannot be read in /proc, so max_connections is not proposed");
	return psprintf("%.2f MB of its own has an idle session, %.2f MB an active one, by %d and %d of them; %.0f MB are available",
					memory->idle_kib / 1024, memory->active_kib / 1024, memory->nidle, memory->nactive, memory->available_kib / 1024);
}

static char *
situation_note(const Document *document, Situation situation)
{
	const BudgetLimit *server = linitial(document->budget.limits);
	const BudgetLimit *limit = nearest_limit(&document->budget, situation);
	char	   *to_server = psprintf("%.0f connections to the server", server->demand[situation]);

	if (limit == NULL)
		return to_server;
	if (limit_is_hit(limit, situation))
		return psprintf("%s; %s is hit first", to_server, limit->name);
	return psprintf("%s; nearest is %s, %.0f of %.0f", to_server, limit->name, limit->demand[situation], limit->capacity);
}

static char *
reason_text(const Document *document)
{
	const Budget *budget = &document->budget;
	const FirstLimit *first = &document->first;

	if (budget->services == NIL)
		return pstrdup("nothing is declared: insert rows into pool_exhaust_declared, or use pool_exhaust_budget_import()");
	if (budget->ncontradictions > 0)
		return psprintf("%d contradictions: %s%s", budget->ncontradictions, budget->contradictions.data,
						budget->ncontradictions > CONTRADICTIONS_SHOWN ? "; ..." : "");
	if (first->limit == NULL)
		return pstrdup("");
	return psprintf("%s is hit first, %s: %s; %.0f are asked for", first->limit->name, situation_types[first->situation].phrase,
					hit_text(first->limit, first->situation), first->limit->demand[first->situation]);
}

/* ---------- Phases and checks ---------- */

static void
note_add(ReportData *data, const char *name, const char *note)
{
	data->phases = data->phases == NULL ? palloc(sizeof(ReportPhase))
		: repalloc(data->phases, sizeof(ReportPhase) * (data->nphases + 1));
	data->phases[data->nphases++] = (ReportPhase) {pstrdup(name), pstrdup(note), -1, 0, ""};
}

static void
notes_add(Document *document)
{
	ReportData *data = document->data;
	double		idle = 0;
	ListCell   *cell;

	for (int s = 0; s < SITUATIONS; s++)
		note_add(data, situation_types[s].word, situation_note(document, s));
	foreach(cell, document->budget.services)
		idle += ((const DeclaredService *) lfirst(cell))->idle;
	if (idle > 0)
		note_add(data, "idle", psprintf("%.0f connections stay open at rest, used or not", idle));
	foreach(cell, document->budget.limits)
		if (is_limited(lfirst(cell)))
			note_add(data, ((const BudgetLimit *) lfirst(cell))->name, ((const BudgetLimit *) lfirst(cell))->origin);
	note_add(data, "memory", memory_text(&document->budget.memory));
	foreach(cell, document->proposals)
		note_add(data, "propose", lfirst(cell));
	if (document->isolation[0] != '\0')
		note_add(data, "isolation", document->isolation);
}

static ReportCheck *
check_add(ReportData *data)
{
	data->checks = data->checks == NULL ? palloc(sizeof(ReportCheck))
		: repalloc(data->checks, sizeof(ReportCheck) * (data->nchecks + 1));
	data->checks[data->nchecks] = (ReportCheck) {"", "", "pass", {0}, "", "", "", ""};
	return &data->checks[data->nchecks++];
}

static void
check_limit(ReportData *data, const Budget *budget, const BudgetLimit *limit, Situation situation)
{
	ReportCheck *check = check_add(data);

	check->phase = "limits";
	check->name = psprintf("%s, %s", limit->name, situation_types[situation].word);
	check->unit = "connections";
	check->comparison = (Comparison) {OPERATOR_AT_MOST, limit->capacity, 0, limit->demand[situation]};
	if (comparison_holds(&check->comparison))
		return;
	check->outcome = "fail";
	check->detail = failure_detail(budget, limit, situation);
}

/* What is odd: it fails, or it passes with a warning. */
static void
check_lint(ReportData *data, const Lint *lint)
{
	ReportCheck *check = check_add(data);

	check->phase = (char *) lint->phase;
	check->name = (char *) lint->name;
	check->unit = (char *) lint->unit;
	check->comparison = lint->comparison;
	if (comparison_holds(&lint->comparison))
		return;
	check->outcome = lint->fails ? "fail" : "pass";
	check->detail = lint->fails ? (char *) lint->meaning : psprintf("warning: %s", lint->meaning);
}

/* A limit that is not checked for some services, with the reason; nothing if that holds for none. */
static void
check_skip(ReportData *data, const Budget *budget, bool (*holds) (const DeclaredService *service), const char *name, const char *why)
{
	int			n = 0;
	ListCell   *cell;
	ReportCheck *check;

	foreach(cell, budget->services)
		n += holds(lfirst(cell));
	if (n == 0)
		return;
	check = check_add(data);
	check->phase = "limits";
	check->name = pstrdup(name);
	check->outcome = "skip";
	check->detail = psprintf("%d services %s", n, why);
}

static bool
lacks_role(const DeclaredService *service)
{
	return service->role[0] == '\0';
}

static bool
lacks_database(const DeclaredService *service)
{
	return service->database[0] == '\0';
}

static bool
is_exempt(const DeclaredService *service)
{
	return service->is_super;
}

static void
checks_add(Document *document)
{
	ReportData *data = document->data;
	ListCell   *cell;

	for (int s = 0; s < SITUATIONS; s++)
		foreach(cell, document->budget.limits)
			if (is_limited(lfirst(cell)) && ((const BudgetLimit *) lfirst(cell))->shares != NIL)
				check_limit(data, &document->budget, lfirst(cell), s);
	foreach(cell, document->budget.lints)
		check_lint(data, lfirst(cell));
	check_skip(data, &document->budget, lacks_role, "limits of roles", "declare no role: its CONNECTION LIMIT is not checked");
	check_skip(data, &document->budget, lacks_database, "limits of databases", "declare no database: its CONNECTION LIMIT is not checked");
	check_skip(data, &document->budget, is_exempt, "limits of superusers", "log in as superusers: no CONNECTION LIMIT holds for them");
}

/* ---------- JSON ---------- */

static void
json_member(StringInfo json, const char *key, const char *value)
{
	appendStringInfo(json, "%s\"%s\": ", json->data[json->len - 1] == '{' ? "" : ", ", key);
	escape_json(json, value);
}

static void
json_number(StringInfo json, const char *key, double value)
{
	appendStringInfo(json, ", \"%s\": %.10g", key, value);
}

static void
json_first(StringInfo json, const FirstLimit *first)
{
	appendStringInfoString(json, ", \"first\": ");
	if (first->limit == NULL)
	{
		appendStringInfoString(json, "null");
		return;
	}
	appendStringInfoChar(json, '{');
	json_member(json, "limit", first->limit->name);
	json_member(json, "cause", cause_kinds[first->limit->cause].name);
	json_member(json, "situation", situation_types[first->situation].word);
	json_number(json, "connections", first->crossing.connections);
	json_number(json, "asked", first->limit->demand[first->situation]);
	json_member(json, "of", first->crossing.share->name);
	if (first->crossing.unit > 0)
		json_number(json, first->crossing.share->unit, first->crossing.unit);
	appendStringInfoChar(json, '}');
}

static void
json_check(StringInfo json, const ReportCheck *check)
{
	appendStringInfoChar(json, '{');
	json_member(json, "phase", check->phase);
	json_member(json, "name", check->name);
	json_member(json, "outcome", check->outcome);
	if (check->comparison.operator != OPERATOR_NONE)
	{
		json_member(json, "operator", operator_word(check->comparison.operator));
		json_number(json, "expected_num", check->comparison.expected);
		json_number(json, "observed_num", check->comparison.observed);
		json_member(json, "unit", check->unit);
	}
	json_member(json, "detail", check->detail);
	appendStringInfoChar(json, '}');
}

/* One object in one line, with the names that a run has for what is the same. */
static char *
document_json(const Document *document)
{
	const ReportData *data = document->data;
	StringInfoData json;
	ListCell   *cell;

	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	json_member(&json, "document", data->scenario);
	json_member(&json, "target", data->target);
	json_member(&json, "verdict", data->verdict);
	json_member(&json, "reason", data->reason);
	json_first(&json, &document->first);
	appendStringInfoString(&json, ", \"proposals\": [");
	foreach(cell, document->proposals)
	{
		appendStringInfoString(&json, foreach_current_index(cell) > 0 ? ", " : "");
		escape_json(&json, lfirst(cell));
	}
	appendStringInfoChar(&json, ']');
	json_member(&json, "isolation", document->isolation);
	appendStringInfoString(&json, ", \"checks\": [");
	for (int i = 0; i < data->nchecks; i++)
	{
		appendStringInfoString(&json, i > 0 ? ", " : "");
		json_check(&json, &data->checks[i]);
	}
	appendStringInfoString(&json, "]}");
	return json.data;
}

/* ---------- The document ---------- */

static void
budget_read(Budget *budget)
{
	budget->context = CurrentMemoryContext;
	initStringInfo(&budget->contradictions);
	extension_require_current(&budget->extension);
	extension_enter(&budget->extension);
	SPI_connect();
	declared_read(budget);
	poolers_read(budget);
	poolers_lint(budget);
	SPI_finish();
	extension_leave(&budget->extension);
	beside_read(budget);
	memory_measure(budget);
	limits_add_up(budget);
}

static Verdict
verdict_of(const Document *document)
{
	if (document->budget.services == NIL || document->budget.ncontradictions > 0)
		return VERDICT_INVALID;
	for (int i = 0; i < document->data->nchecks; i++)
		if (check_is(&document->data->checks[i], "fail"))
			return VERDICT_FAIL;
	return VERDICT_PASS;
}

static ReportData *
data_begin(const Budget *budget, TimestampTz now)
{
	ReportData *data = palloc0(sizeof(ReportData));
	pg_time_t	seconds = timestamptz_to_time_t(now);
	char		utc[32];

	data->scenario = "budget";
	data->target = "server";
	pg_strftime(utc, sizeof(utc), "%Y-%m-%dT%H:%M:%S", pg_gmtime(&seconds));
	data->started_at = pstrdup(timestamptz_to_str(now));
	data->started_utc = pstrdup(utc);
	data->seed = data->environment = data->calibration = data->repeat = "";
	data->server_version = pstrdup(PG_VERSION);
	data->extension_version = budget->extension.version;
	return data;
}

/*
 * Returns the budget of what is declared in this database, palloc'd.  ERROR if the
 * extension has another version than the library, or what is declared cannot be read.
 */
ReportData *
budget_document(void)
{
	TimestampTz began = GetCurrentTimestamp();
	Document	document = {{{0}}};

	budget_read(&document.budget);
	document.data = data_begin(&document.budget, began);
	document.first = first_limit(&document.budget);
	document.proposals = proposals(&document.budget, &document.isolation);
	if (document.budget.services != NIL)
	{
		notes_add(&document);
		checks_add(&document);
	}
	document.data->verdict = pstrdup(verdict_names[verdict_of(&document)]);
	document.data->reason = reason_text(&document);
	document.data->elapsed_s = (GetCurrentTimestamp() - began) / 1e6;
	document.data->json = document_json(&document);
	return document.data;
}
