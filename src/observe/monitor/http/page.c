/*
 * page.c
 *		What there is to read over HTTP: /livez, /readyz, /pools; /metrics, which
 *		openmetrics.c writes, and /report, which live_page.c does.  Rooms above add
 *		theirs: /explain, /incidents, /incident.
 *
 * Numbers, states and the names of roles and databases; nothing of what a
 * session does.  /report, /explain, /incidents and /incident have application_names, the former
 * two also the addresses of refused clients.
 */
#include "postgres.h"

#include "utils/json.h"

#include "base/text.h"
#include "observe/monitor/http/live_page.h"
#include "observe/monitor/http/openmetrics.h"
#include "observe/monitor/http/page.h"
#include "observe/monitor/snapshot.h"
#include "plot/page.h"

#define HTML_TYPE	"text/html; charset=utf-8"

/* Prometheus asks for the former; the latter is for every other client. */
#define OPENMETRICS_TYPE "application/openmetrics-text"
#define OPENMETRICS_FULL OPENMETRICS_TYPE "; version=1.0.0; charset=utf-8"
#define METRICS_TEXT_FULL "text/plain; version=0.0.4; charset=utf-8"

/*
 * When no release was seen there is nothing to compute a time from; a client
 * that has to be asked again some time has this in Retry-After.
 */
#define RETRY_AFTER_UNKNOWN_S	10

static void
page_livez(HttpResponse *answer, const PageRequest *request)
{
	answer->content_type = TEXT_TYPE;
	appendStringInfoString(answer->body, "ok\n");
}

static void
json_int_or_null(StringInfo out, const char *key, int64 value, bool isnull)
{
	if (isnull)
		appendStringInfo(out, ", \"%s\": null", key);
	else
		appendStringInfo(out, ", \"%s\": " INT64_FORMAT, key, value);
}

static void
json_utilization(StringInfo out, const PoolRow *row)
{
	if (row->limit.capacity > 0)
		appendStringInfo(out, ", \"utilization\": %.4g", (double) row->in_use / row->limit.capacity);
	else
		appendStringInfoString(out, ", \"utilization\": null");
}

/* What keeps a newcomer out, or will soon; NULL if nothing does. */
static const char *
readyz_cause(const PoolRow *row)
{
	if (row->health == HEALTH_EXHAUSTED)
		return cause_kinds[server_cause(row)].name;
	return row->health == HEALTH_CRITICAL ? "utilization" : NULL;
}

/* 200 while there is room, 429 when there is little, 503 when there is none. */
static void
page_readyz(HttpResponse *answer, const PageRequest *request)
{
	PoolRow		row = *pools_read(list_make1(linitial(snapshot_last()->limits)));
	const char *cause = readyz_cause(&row);

	answer->content_type = JSON_TYPE;
	if (row.health >= HEALTH_CRITICAL)
	{
		answer->status = row.health == HEALTH_EXHAUSTED ? 503 : 429;
		answer->retry_after_s = row.retry_after_s > 0 ? row.retry_after_s : RETRY_AFTER_UNKNOWN_S;
	}
	appendStringInfo(answer->body, "{\"health\": \"%s\"", health_names[row.health]);
	json_utilization(answer->body, &row);
	appendStringInfo(answer->body, ", \"in_use\": %d, \"capacity\": %d, \"cause\": ",
					 row.in_use, row.limit.capacity);
	if (cause != NULL)
		appendStringInfo(answer->body, "\"%s\"", cause);
	else
		appendStringInfoString(answer->body, "null");
	json_int_or_null(answer->body, "retry_after_s", row.retry_after_s, row.retry_after_s == 0);
	appendStringInfoString(answer->body, "}\n");
}

static void
json_pool(StringInfo out, const PoolRow *row)
{
	appendStringInfoString(out, "{\"name\": ");
	escape_json(out, text_as_utf8(row->limit.name));
	appendStringInfo(out, ", \"kind\": \"%s\", \"capacity\": %d, \"in_use\": %d",
					 pool_kind_names[row->limit.kind], row->limit.capacity, row->in_use);
	json_utilization(out, row);
	if (row->limit.capacity > 0)
		appendStringInfo(out, ", \"health\": \"%s\"", health_names[row->health]);
	else
		appendStringInfoString(out, ", \"health\": null");
	json_int_or_null(out, "granted", row->granted, row->granted < 0);
	json_int_or_null(out, "refused", row->refused, false);
	json_int_or_null(out, "peak_in_use", row->peak_in_use, !row->remembered);
	json_int_or_null(out, "retry_after_s", row->retry_after_s, row->retry_after_s == 0);
	appendStringInfoChar(out, '}');
}

static void
page_pools(HttpResponse *answer, const PageRequest *request)
{
	const List *limits = snapshot_last()->limits;
	PoolRow    *rows = pools_read(limits);

	answer->content_type = JSON_TYPE;
	for (int i = 0; i < list_length(limits); i++)
	{
		appendStringInfoString(answer->body, i == 0 ? "[" : ",\n ");
		json_pool(answer->body, &rows[i]);
	}
	appendStringInfoString(answer->body, "]\n");
}

static void
page_metrics(HttpResponse *answer, const PageRequest *request)
{
	bool		openmetrics = request->accept != NULL && strstr(request->accept, OPENMETRICS_TYPE) != NULL;

	answer->content_type = openmetrics ? OPENMETRICS_FULL : METRICS_TEXT_FULL;
	openmetrics_write(answer->body, openmetrics);
}

/* What a browser loads for it is nothing, and no other page may show it within itself. */
static void
page_report(HttpResponse *answer, const PageRequest *request)
{
	answer->content_type = HTML_TYPE;
	answer->policy = PAGE_POLICY "; frame-ancestors 'none'";
	live_page_write(answer->body, request->refresh == NULL || strcmp(request->refresh, "0") != 0);
}

/* Room for pages of rooms above */
#define PAGES_MAX		16

static HttpPage pages[PAGES_MAX] = {
	{"/livez", page_livez},
	{"/readyz", page_readyz},
	{"/metrics", page_metrics},
	{"/pools", page_pools},
	{"/report", page_report},
};

/* How many there are: the rest has no path. */
static int
npages(void)
{
	int			n = 0;

	while (n < PAGES_MAX && pages[n].path != NULL)
		n++;
	return n;
}

void
page_add(const HttpPage *page)
{
	int			n = npages();

	if (n == PAGES_MAX)
		elog(ERROR, "there is no room for page %s", page->path);
	pages[n] = *page;
}

/* Fills in the answer to a request that gets none of these; the message needs no escape. */
void
page_error(HttpResponse *answer, int status, const char *message)
{
	answer->status = status;
	answer->content_type = JSON_TYPE;
	appendStringInfo(answer->body, "{\"error\": \"%s\"}\n", message);
}

/* Returns "there are /a, /b and /c", palloc'd. */
static char *
pages_text(void)
{
	StringInfoData text;
	int			n = npages();

	initStringInfo(&text);
	for (int i = 0; i < n; i++)
		appendStringInfo(&text, "%s%s", i == 0 ? "there are " : i < n - 1 ? ", " : " and ", pages[i].path);
	return text.data;
}

/*
 * Fills in the answer to a request; its body is empty.  Nothing in the request can
 * make it throw.
 */
void
page_request(HttpResponse *answer, const PageRequest *request)
{
	answer->status = 200;
	for (int i = 0; i < npages(); i++)
	{
		if (strcmp(pages[i].path, request->path) != 0)
			continue;
		if (strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0)
		{
			pages[i].write(answer, request);
			return;
		}
		answer->allow = "GET, HEAD";
		page_error(answer, 405, "only GET and HEAD are answered");
		return;
	}
	page_error(answer, 404, pages_text());
}
