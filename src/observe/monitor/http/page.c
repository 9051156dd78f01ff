/*
 * page.c
 *		What there is to read over HTTP: /livez, /readyz, /pools, and /metrics,
 *		which openmetrics.c writes.
 *
 * Numbers, states and the names of roles and databases; nothing of what a
 * session does.
 */
#include "postgres.h"

#include "utils/json.h"

#include "base/text.h"
#include "observe/monitor/http/openmetrics.h"
#include "observe/monitor/http/page.h"
#include "observe/monitor/snapshot.h"
#include "observe/slots/census.h"
#include "observe/slots/ledger.h"

#define JSON_TYPE	"application/json"
#define TEXT_TYPE	"text/plain; charset=utf-8"

/* Prometheus asks for the former; the latter is for every other client. */
#define OPENMETRICS_TYPE "application/openmetrics-text"
#define OPENMETRICS_FULL OPENMETRICS_TYPE "; version=1.0.0; charset=utf-8"
#define METRICS_TEXT_FULL "text/plain; version=0.0.4; charset=utf-8"

/*
 * When no release was seen there is nothing to compute a time from; a client
 * that has to be asked again some time has this in Retry-After.
 */
#define RETRY_AFTER_UNKNOWN_S	10

static PoolRow
server_row(void)
{
	return *pools_read(list_make1(linitial(snapshot_last()->limits)));
}

static void
page_livez(HttpResponse *answer, const char *accept)
{
	answer->content_type = TEXT_TYPE;
	appendStringInfoString(answer->body, "ok\n");
}

/* What keeps a newcomer out, or will soon. */
static const char *
readyz_cause(const PoolRow *row)
{
	Census		census;

	if (row->health < HEALTH_CRITICAL)
		return NULL;
	if (row->health == HEALTH_CRITICAL)
		return "utilization";
	census_take(&census);
	if (census.free == 0)
		return cause_kinds[CAUSE_TOO_MANY_CLIENTS].name;
	if (row->in_use >= row->limit.capacity || ledger_last_slot_cause() == CAUSE_NONE)
		return cause_kinds[CAUSE_RESERVED_SLOTS].name;
	return cause_kinds[ledger_last_slot_cause()].name;
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

/* 200 while there is room, 429 when there is little, 503 when there is none. */
static void
page_readyz(HttpResponse *answer, const char *accept)
{
	PoolRow		row = server_row();
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
page_pools(HttpResponse *answer, const char *accept)
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
page_metrics(HttpResponse *answer, const char *accept)
{
	bool		openmetrics = accept != NULL && strstr(accept, OPENMETRICS_TYPE) != NULL;

	answer->content_type = openmetrics ? OPENMETRICS_FULL : METRICS_TEXT_FULL;
	openmetrics_write(answer->body, openmetrics);
}

static const struct
{
	const char *path;
	void		(*write) (HttpResponse *answer, const char *accept);
}			pages[] = {
	{"/livez", page_livez},
	{"/readyz", page_readyz},
	{"/metrics", page_metrics},
	{"/pools", page_pools},
};

/* Fills in the answer to a request that gets none of these; the message is a constant. */
void
page_error(HttpResponse *answer, int status, const char *message)
{
	answer->status = status;
	answer->content_type = JSON_TYPE;
	appendStringInfo(answer->body, "{\"error\": \"%s\"}\n", message);
}

/*
 * Fills in the answer to a request; its body is empty.  "accept" is what the
 * client says it can read, or NULL.  Nothing in the request can make it throw.
 */
void
page_request(HttpResponse *answer, const char *method, const char *path, const char *accept)
{
	answer->status = 200;
	for (int i = 0; i < lengthof(pages); i++)
	{
		if (strcmp(pages[i].path, path) != 0)
			continue;
		if (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0)
		{
			pages[i].write(answer, accept);
			return;
		}
		answer->allow = "GET, HEAD";
		page_error(answer, 405, "only GET and HEAD are answered");
		return;
	}
	page_error(answer, 404, "there are /livez, /readyz, /metrics and /pools");
}
