/*
 * http_load.c
 *		Clients of an HTTP service, and what became of their requests.
 *
 * Each client makes a request, waits for its end, and makes another.  The story counts
 * what has ended between the turns of the loop, so nothing here runs inside it.
 */
#include "postgres.h"

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "base/text.h"
#include "story/http_load.h"

/* A client that was not served makes its next request after this, as one with a back-off does. */
#define NOT_SERVED_MS	50

#define EXCERPT_LEN		80

const int	http_refusal_status[HTTP_REFUSALS] = {
	[HTTP_REFUSED_BUSY] = 503,
	[HTTP_REFUSED_QUOTA] = 429,
};

typedef struct HttpCaller
{
	HttpRequest request;		/* its owner is the load */
	const char *path;
	uint64		next_us;		/* rests until then */
	dlist_node	node;
} HttpCaller;

/* ---------- The format of errors ---------- */

/* "a, b": the keys of a JSON object; NULL if the text is none.  May throw. */
static char *
json_keys(const char *text)
{
	Jsonb	   *json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;
	StringInfoData keys;

	if (!JB_ROOT_IS_OBJECT(json))
		return NULL;
	initStringInfo(&keys);
	it = JsonbIteratorInit(&json->root);
	while ((token = JsonbIteratorNext(&it, &value, true)) != WJB_DONE)
		if (token == WJB_KEY)
			appendStringInfo(&keys, "%s%.*s", keys.len > 0 ? ", " : "", value.val.string.len, value.val.string.val);
	return keys.data;
}

/* The same, and NULL too if it is no JSON at all. */
static char *
json_keys_of(const char *text)
{
	MemoryContext context = CurrentMemoryContext;
	char	   *volatile keys = NULL;

	PG_TRY();
	{
		keys = json_keys(text);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION &&
			ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_PROGRAM_LIMIT_EXCEEDED)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	return keys;
}

static bool
is_page(const HttpReply *reply)
{
	const char *body = reply->body + strspn(reply->body, " \t\r\n");

	return strcmp(reply->content_type, "text/html") == 0 || body[0] == '<';
}

/* "application/json {error, message}": what programs that read errors depend on. */
static char *
error_format(HttpReply *reply)
{
	const char *type = reply->content_type[0] != '\0' ? reply->content_type : "no content type";
	char	   *keys;

	text_make_valid(reply->body, GetDatabaseEncoding());
	keys = json_keys_of(reply->body);
	if (keys != NULL)
		return psprintf("%s {%s}", type, keys);
	return psprintf("%s%s", type, reply->body_bytes == 0 ? ", empty" : "");
}

/* "500 text/html: <!doctype html> <html lang=en>" */
static char *
error_excerpt(const HttpReply *reply)
{
	char		text[EXCERPT_LEN];

	strlcpy(text, reply->body, sizeof(text));
	text_make_printable(text);
	return psprintf("%d %s: %s", reply->status, reply->content_type, text);
}

/* ---------- Counting ---------- */

static void
tally_format(HttpLoad *load, HttpReply *reply)
{
	HttpTally  *tally = &load->tally;
	MemoryContext old = MemoryContextSwitchTo(load->scratch);
	char	   *format = error_format(reply);
	int			i;

	for (i = 0; i < tally->nformats && strcmp(tally->formats[i], format) != 0;)
		i++;
	MemoryContextSwitchTo(old);
	if (i == tally->nformats && i < HTTP_FORMATS_MAX)
		tally->formats[tally->nformats++] = pstrdup(format);
	tally->pages += is_page(reply);
	MemoryContextReset(load->scratch);
}

static void
tally_refusal(HttpLoad *load, HttpRefusalKind kind, const HttpCaller *caller)
{
	HttpTally  *tally = &load->tally;
	const HttpReply *reply = &caller->request.reply;

	tally->refused++;
	tally->refused_as[kind]++;
	tally->longest_retry_after_s = Max(tally->longest_retry_after_s, reply->retry_after_s);
	if (reply->retry_after_s < 1)
		tally->unpromising++;
	else
		tally->refusals[kind] = (HttpRefusal) {caller->path, reply->ended_us, reply->retry_after_s};
}

static void
tally_status(HttpTally *tally, int status)
{
	int			i = 0;

	while (i < tally->nstatuses && tally->statuses[i] != status)
		i++;
	if (i == HTTP_STATUSES_MAX)
		return;
	tally->nstatuses = Max(tally->nstatuses, i + 1);
	tally->statuses[i] = status;
	tally->counts[i]++;
}

static void
tally_error(HttpTally *tally, const HttpReply *reply)
{
	if (reply->status >= 500)
		tally->server_errors++;
	else
		tally->strange++;
	if (tally->first_error == NULL)
		tally->first_error = error_excerpt(reply);
}

static void
tally_answer(HttpLoad *load, HttpCaller *caller)
{
	HttpTally  *tally = &load->tally;
	HttpReply  *reply = &caller->request.reply;

	histogram_add(&tally->response, reply->took_us);
	tally_status(tally, reply->status);
	if (reply->status >= 400)
		tally_format(load, reply);
	if (reply->status / 100 == 2)
		tally->served++;
	else if (reply->status == http_refusal_status[HTTP_REFUSED_BUSY])
		tally_refusal(load, HTTP_REFUSED_BUSY, caller);
	else if (reply->status == http_refusal_status[HTTP_REFUSED_QUOTA])
		tally_refusal(load, HTTP_REFUSED_QUOTA, caller);
	else
		tally_error(tally, reply);
}

static void
tally_no_answer(HttpTally *tally, const HttpReply *reply)
{
	if (reply->end == HTTP_NO_ANSWER || reply->end == HTTP_HALF_ANSWER)
		tally->unanswered++;
	else
		tally->broken++;
	if (tally->first_failure == NULL)
		tally->first_failure = psprintf("%s (%s)", http_end_names[reply->end], reply->detail);
}

/* "200 12   503 45   no answer 1" */
char *
http_tally_text(const HttpTally *tally)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < tally->nstatuses; i++)
		appendStringInfo(&text, "%s%d " UINT64_FORMAT, i > 0 ? "   " : "", tally->statuses[i], tally->counts[i]);
	if (tally->unanswered > 0)
		appendStringInfo(&text, "%sno answer " UINT64_FORMAT, text.len > 0 ? "   " : "", tally->unanswered);
	if (tally->broken > 0)
		appendStringInfo(&text, "%sbroken " UINT64_FORMAT, text.len > 0 ? "   " : "", tally->broken);
	return text.data;
}

/* ---------- Clients ---------- */

static void
caller_ask(HttpLoad *load, HttpCaller *caller)
{
	load->busy++;
	load->tally.asked++;
	http_ask(load->config.client, &caller->request, caller->path, load->config.timeout_ms);
}

/* The request has ended: counts it; the client rests. */
static void
caller_ended(HttpLoad *load, HttpCaller *caller)
{
	HttpTally  *tally = &load->tally;
	uint64		served = tally->served;
	bool		was_served;

	load->busy--;
	tally->ended++;
	if (caller->request.reply.end == HTTP_ANSWERED)
		tally_answer(load, caller);
	else
		tally_no_answer(tally, &caller->request.reply);
	if (load->stopped)
		return;
	was_served = tally->served > served;
	caller->next_us = loop_now_us() +
		(was_served ? load->config.pause_ms : Max(load->config.pause_ms, NOT_SERVED_MS)) * 1000;
	dlist_push_tail(was_served ? &load->resting : &load->resting_long, &caller->node);
}

/* All in a list rest equally long, so the first is the first to go on. */
static void
callers_go_on(HttpLoad *load, dlist_head *resting)
{
	while (!dlist_is_empty(resting) && !load->stopped)
	{
		HttpCaller *caller = dlist_head_element(HttpCaller, node, resting);

		if (caller->next_us > loop_now_us())
			return;
		dlist_delete(&caller->node);
		caller_ask(load, caller);
	}
}

/* Makes a load without clients, in the current memory context, which must outlive the loop. */
HttpLoad *
http_load_create(const HttpLoadConfig *config)
{
	HttpLoad   *load = palloc0(sizeof(HttpLoad));

	load->config = *config;
	load->scratch = AllocSetContextCreate(CurrentMemoryContext, "pool_exhaust HTTP errors",
										  ALLOCSET_DEFAULT_SIZES);
	load->callers = palloc_extended(sizeof(HttpCaller) * config->clients,
									MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	dlist_init(&load->resting);
	dlist_init(&load->resting_long);
	return load;
}

/* Raises the number of clients; the new ones make a request at once. */
void
http_load_raise(HttpLoad *load, int clients)
{
	while (load->ncallers < Min(clients, load->config.clients))
	{
		HttpCaller *caller = &load->callers[load->ncallers];

		caller->request.owner = load;
		caller->path = load->config.paths[load->config.paths[1] != NULL ? load->ncallers % 2 : 0];
		load->ncallers++;
		caller_ask(load, caller);
	}
}

/*
 * Counts what has ended, and goes on with the clients that have rested; between turns
 * of the loop, in the memory context of the loads.  A load may be NULL.
 */
void
http_load_step(HttpClient *client, HttpLoad *const *loads, int n)
{
	HttpRequest *request;

	while ((request = http_client_take(client)) != NULL)
		caller_ended(request->owner, (HttpCaller *) request);
	for (int i = 0; i < n; i++)
	{
		if (loads[i] == NULL)
			continue;
		callers_go_on(loads[i], &loads[i]->resting);
		callers_go_on(loads[i], &loads[i]->resting_long);
	}
}
