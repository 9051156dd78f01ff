/*
 * http_load.h
 *		Clients of an HTTP service, and what became of their requests.
 */
#pragma once

#include "load/http/http_client.h"
#include "story/story.h"

#define HTTP_STATUSES_MAX	16	/* different ones that are counted */
#define HTTP_FORMATS_MAX	8

/* The latest request that was refused so, with a usable Retry-After. */
typedef struct HttpRefusal
{
	const char *path;
	uint64		at_us;			/* 0: there was none */
	int			retry_after_s;
} HttpRefusal;

typedef enum HttpRefusalKind
{
	HTTP_REFUSED_BUSY,			/* 503 */
	HTTP_REFUSED_QUOTA			/* 429 */
} HttpRefusalKind;

#define HTTP_REFUSALS (HTTP_REFUSED_QUOTA + 1)

extern const int http_refusal_status[HTTP_REFUSALS];

/* What became of some requests. */
typedef struct HttpTally
{
	uint64		asked;
	uint64		ended;
	uint64		served;			/* 2xx */
	uint64		refused;		/* 503 and 429 */
	uint64		refused_as[HTTP_REFUSALS];
	uint64		server_errors;	/* 5xx but 503 */
	uint64		strange;		/* another status */
	uint64		unanswered;		/* no answer, or only a part, in time */
	uint64		broken;			/* no answer for another reason */
	uint64		unpromising;	/* refusals without a usable Retry-After */
	int			longest_retry_after_s;
	uint64		pages;			/* errors that are pages for people */
	char	   *formats[HTTP_FORMATS_MAX];	/* of errors, in the order of appearance */
	int			nformats;
	int			statuses[HTTP_STATUSES_MAX];
	uint64		counts[HTTP_STATUSES_MAX];
	int			nstatuses;
	char	   *first_failure;	/* how the first one without an answer ended */
	char	   *first_error;	/* what the first server error said */
	HttpRefusal refusals[HTTP_REFUSALS];
	Histogram	response;		/* of those that were answered */
} HttpTally;

typedef struct HttpLoadConfig
{
	HttpClient *client;
	const char *paths[2];		/* clients take turns; the second may be NULL */
	int			clients;		/* at the most */
	int			timeout_ms;		/* for one request */
	int			pause_ms;		/* after one that was served; after others more */
} HttpLoadConfig;

typedef struct HttpLoad
{
	HttpLoadConfig config;
	struct HttpCaller *callers;
	int			ncallers;		/* that have begun */
	int			busy;			/* requests under way */
	bool		stopped;
	dlist_head	resting;		/* callers, the first to go on first */
	dlist_head	resting_long;
	MemoryContext scratch;
	HttpTally	tally;
} HttpLoad;

extern HttpLoad *http_load_create(const HttpLoadConfig *config);
extern void http_load_raise(HttpLoad *load, int clients);
extern void http_load_step(HttpClient *client, HttpLoad *const *loads, int n);

/* Returns how many requests were not served. */
static inline uint64
http_tally_trouble(const HttpTally *tally)
{
	return tally->ended - tally->served;
}

extern char *http_tally_text(const HttpTally *tally);
