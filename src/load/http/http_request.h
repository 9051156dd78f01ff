/*
 * http_request.h
 *		One request of the HTTP client and its reply: shared by http_client.c,
 *		which sends it, and http_reply.c, which receives.
 */
#pragma once

#include "lib/ilist.h"

#include "base/words.h"

#define HTTP_BODY_KEPT		4096	/* bytes of a body that are kept */
#define HTTP_BODY_MAX		(1024 * 1024)	/* a longer one ends the request */
#define HTTP_HEADERS_MAX	(64 * 1024) /* likewise */

/* How a request ended. */
#define HTTP_END_LIST(ROW) \
	ROW(HTTP_ANSWERED, "answered") \
	ROW(HTTP_CONNECT_REFUSED, "connection refused") \
	ROW(HTTP_UNREACHABLE, "host unreachable") \
	ROW(HTTP_NO_CONNECTION, "no connection in time") \
	ROW(HTTP_NO_HANDSHAKE, "no TLS handshake in time") \
	ROW(HTTP_NO_ANSWER, "no answer in time") \
	ROW(HTTP_HALF_ANSWER, "only part of an answer in time") \
	ROW(HTTP_CLOSED_EARLY, "closed before the answer was complete") \
	ROW(HTTP_NOT_HTTP, "the answer is not HTTP") \
	ROW(HTTP_BAD_CERTIFICATE, "the certificate is not to be trusted") \
	ROW(HTTP_NO_TLS, "no TLS handshake was possible") \
	ROW(HTTP_HEADERS_TOO_LARGE, "headers too large") \
	ROW(HTTP_BODY_TOO_LARGE, "body too large") \
	ROW(HTTP_FAILED, "failed")	/* otherwise: "detail" says how */

typedef enum HttpEnd
{
	HTTP_END_LIST(LIST_MEMBER)
} HttpEnd;

#define HTTP_ENDS LIST_COUNT(HTTP_END_LIST)

extern const char *const http_end_names[HTTP_ENDS];

typedef struct HttpReply
{
	HttpEnd		end;
	int			status;			/* 0: none came */
	char		retry_after[32];	/* as it stands there; empty: none */
	int			retry_after_s;	/* what it means; -1: nothing */
	char		content_type[64];	/* without parameters, in small letters */
	char		detail[128];	/* curl's words for a failure */
	uint64		took_us;
	uint64		ended_us;		/* monotonic */
	size_t		body_bytes;		/* that came; those that are kept end with a zero */
	char		body[HTTP_BODY_KEPT + 1];
} HttpReply;

/* One request at a time.  All zero is one that was never made. */
typedef struct HttpRequest
{
	bool		under_way;
	HttpReply	reply;			/* when it is not any more */
	void	   *owner;

	/* The client's own. */
	void	   *easy;
	uint64		asked_us;
	size_t		header_bytes;
	HttpEnd		cut_off;		/* we have ended it, for that */
	bool		connected;		/* and the TLS handshake has begun */
	char		error[256];
	dlist_node	node;			/* while under way, and until it is taken */
} HttpRequest;
