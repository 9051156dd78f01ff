/*
 * explain_page.c
 *		The page /explain: what is wrong, or was, for a terminal of 80 columns, and as JSON.
 *
 * It is for the moment when no other client is granted a connection, so it is small:
 * the first causes, as far as there is room.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/json.h"

#include "advise/explain/explain.h"
#include "advise/explain/explain_page.h"
#include "base/text.h"
#include "observe/monitor/http/live_text.h"
#include "observe/monitor/http/moment.h"
#include "observe/monitor/http/page.h"
#include "observe/monitor/snapshot.h"

/* Bytes of the page, but for a first cause that is longer. */
#define PAGE_MAX		2048

/* Blocks of the recorder's file that are read for it: more than an hour. */
#define BLOCKS_MAX		24

#define COLUMNS			78
#define INDENT			"   "

/* ---------- Names, as the last observation has read them ---------- */

static void
name_service(HeldService *service)
{
	const Service *read = hash_search(snapshot_last()->services, &service->key, HASH_FIND, NULL);

	service->usename = read != NULL ? read->usename : NULL;
	service->name = live_service(read != NULL ? read->usename : psprintf("%u", service->key.role), service->key.application_name);
}

/* The page has what /report has, too. */
static bool
may_see(Oid role)
{
	return true;
}

/* Roles are looked up in the catalogs, if no session has locked these. */
static int
explain_here(Finding *findings)
{
	MemoryContext old = CurrentMemoryContext;
	FactsSource source = {.limits = snapshot_last()->limits, .name = name_service, .may_see = may_see};
	bool		readable;
	int			n;

	StartTransactionCommand();
	readable = snapshot_catalogs_readable();
	source.monitors = readable ? role_monitors : facts_monitors_unknown;
	source.exempt = readable ? superuser_arg : facts_exempt_unknown;
	MemoryContextSwitchTo(old);
	n = explain(&source, findings);
	CommitTransactionCommand();
	MemoryContextSwitchTo(old);
	return n;
}

/* ---------- Text ---------- */

/* Writes a text in lines of no more columns than a terminal has; a word that is longer has a line of its own. */
static void
write_wrapped(StringInfo out, const char *text)
{
	int			column = COLUMNS;

	while (*text != '\0')
	{
		int			len = strcspn(text, " ");

		if (column + 1 + len > COLUMNS)
			column = (int) strlen(INDENT);
		if (column == strlen(INDENT))
			appendStringInfoString(out, "\n" INDENT);
		else
			appendStringInfoChar(out, ' ');
		appendBinaryStringInfo(out, text, len);
		column += len + 1;
		text += len + strspn(text + len, " ");
	}
}

static void
text_finding(StringInfo out, int rank, const Finding *finding)
{
	appendStringInfo(out, "%d. %s (%s)", rank, finding->cause, confidence_names[finding->confidence]);
	write_wrapped(out, live_name(finding->sentence));
	if (finding->evidence != NULL)
		write_wrapped(out, live_name(finding->evidence));
	appendStringInfo(out, "\n" INDENT "next: %s\n", live_name(finding->next_step));
}

/* ---------- JSON ---------- */

static void
json_text(StringInfo out, const char *key, const char *value)
{
	appendStringInfo(out, ", \"%s\": ", key);
	if (value != NULL)
		escape_json(out, live_name(value));
	else
		appendStringInfoString(out, "null");
}

static void
json_finding(StringInfo out, int rank, const Finding *finding)
{
	appendStringInfo(out, "{\"rank\": %d", rank);
	json_text(out, "cause", finding->cause);
	json_text(out, "sentence", finding->sentence);
	json_text(out, "evidence", finding->evidence);
	json_text(out, "next_step", finding->next_step);
	json_text(out, "confidence", confidence_names[finding->confidence]);
	appendStringInfoChar(out, '}');
}

/* ---------- The page ---------- */

static bool
wants_json(const PageRequest *request)
{
	if (request->format != NULL)
		return strcmp(request->format, "json") == 0;
	return request->accept != NULL && strstr(request->accept, JSON_TYPE) != NULL;
}

static void
write_findings(HttpResponse *answer, const PageRequest *request, const Finding *findings, int n)
{
	bool		json = wants_json(request);

	answer->content_type = json ? JSON_TYPE : TEXT_TYPE;
	for (int i = 0; i < n; i++)
	{
		StringInfoData one;

		initStringInfo(&one);
		(json ? json_finding : text_finding) (&one, i + 1, &findings[i]);
		if (i > 0 && answer->body->len + one.len + 4 > PAGE_MAX)
			break;
		if (json)
			appendStringInfoString(answer->body, i == 0 ? "[" : ",\n ");
		appendBinaryStringInfo(answer->body, one.data, one.len);
	}
	if (json)
		appendStringInfoString(answer->body, "]\n");
}

static void
page_explain(HttpResponse *answer, const PageRequest *request)
{
	Finding		findings[FINDINGS_MAX];
	TimestampTz at;

	if (request->at == NULL)
		write_findings(answer, request, findings, explain_here(findings));
	else if (moment_parse(request->at, &at))
		write_findings(answer, request, findings, explain_at(at, BLOCKS_MAX, may_see, findings));
	else
		page_error(answer, 400, MOMENT_HINT);
}

/* To be called from _PG_init. */
void
explain_page_init(void)
{
	page_add(&(HttpPage) {"/explain", page_explain});
}
