/*
 * http_reply.c
 *		What comes back from an HTTP service: headers and a body, both bounded,
 *		or why nothing did.
 */
#include "postgres.h"

#include <time.h>

#include "base/text.h"
#include "event/loop.h"
#include "load/http/http_reply.h"

#if LIBCURL_VERSION_NUM < 0x080600
#define CURLE_TOO_LARGE 100
#endif

const char *const http_end_names[HTTP_ENDS] = {HTTP_END_LIST(LIST_WORD)};

/* Takes the value of a header of that name; false if the line is another one. */
static bool
header_take(const char *line, size_t length, const char *name, char *value, size_t size)
{
	size_t		n = strlen(name);

	if (length <= n || line[n] != ':' || pg_strncasecmp(line, name, n) != 0)
		return false;
	for (n++; n < length && (line[n] == ' ' || line[n] == '\t');)
		n++;
	while (length > n && (unsigned char) line[length - 1] <= ' ')
		length--;
	strlcpy(value, line + n, Min(size, length - n + 1));
	return true;
}

static size_t
receive_header(char *data, size_t size, size_t n, void *arg)
{
	HttpRequest *request = arg;
	HttpReply  *reply = &request->reply;
	char		type[sizeof(reply->content_type)];

	request->header_bytes += n;
	if (request->header_bytes > HTTP_HEADERS_MAX)
	{
		request->cut_off = HTTP_HEADERS_TOO_LARGE;
		return 0;
	}
	(void) header_take(data, n, "Retry-After", reply->retry_after, sizeof(reply->retry_after));
	if (header_take(data, n, "Content-Type", type, sizeof(type)))
	{
		type[strcspn(type, "; \t")] = '\0';
		for (char *p = type; *p != '\0'; p++)
			*p = pg_ascii_tolower((unsigned char) *p);
		strlcpy(reply->content_type, type, sizeof(reply->content_type));
	}
	return n;
}

static size_t
receive_body(char *data, size_t size, size_t n, void *arg)
{
	HttpRequest *request = arg;
	HttpReply  *reply = &request->reply;

	if (reply->body_bytes < HTTP_BODY_KEPT)
		memcpy(reply->body + reply->body_bytes, data, Min(n, HTTP_BODY_KEPT - reply->body_bytes));
	reply->body_bytes += n;
	if (reply->body_bytes <= HTTP_BODY_MAX)
		return n;
	request->cut_off = HTTP_BODY_TOO_LARGE;
	return 0;
}

/* CURLOPT_SSL_CTX_FUNCTION: curl's own times count a connection when it is through. */
static CURLcode
tls_begins(CURL *easy, void *context, void *arg)
{
	((HttpRequest *) arg)->connected = true;
	return CURLE_OK;
}

/* Has curl hand over to the request what comes. */
void
http_reply_begin(HttpRequest *request)
{
	curl_easy_setopt(request->easy, CURLOPT_HEADERFUNCTION, receive_header);
	curl_easy_setopt(request->easy, CURLOPT_HEADERDATA, request);
	curl_easy_setopt(request->easy, CURLOPT_WRITEFUNCTION, receive_body);
	curl_easy_setopt(request->easy, CURLOPT_WRITEDATA, request);
	curl_easy_setopt(request->easy, CURLOPT_SSL_CTX_FUNCTION, tls_begins);
	curl_easy_setopt(request->easy, CURLOPT_SSL_CTX_DATA, request);
	curl_easy_setopt(request->easy, CURLOPT_ERRORBUFFER, request->error);
}

/* The deadline has passed: what was it waiting for? */
static HttpEnd
late_end(const HttpRequest *request, bool tls)
{
	CURL	   *easy = request->easy;
	curl_off_t	connected = 0;
	curl_off_t	shaken = 0;
	curl_off_t	started = 0;

	curl_easy_getinfo(easy, CURLINFO_CONNECT_TIME_T, &connected);
	curl_easy_getinfo(easy, CURLINFO_APPCONNECT_TIME_T, &shaken);
	curl_easy_getinfo(easy, CURLINFO_STARTTRANSFER_TIME_T, &started);
	if (connected == 0 && !request->connected)
		return HTTP_NO_CONNECTION;
	if (tls && shaken == 0)
		return HTTP_NO_HANDSHAKE;
	return started == 0 ? HTTP_NO_ANSWER : HTTP_HALF_ANSWER;
}

static HttpEnd
connect_end(CURL *easy)
{
	long		reason = 0;

	curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &reason);
	return reason == ECONNREFUSED ? HTTP_CONNECT_REFUSED : HTTP_UNREACHABLE;
}

/* curl says of a single line that is too long for it that it has no memory. */
static bool
header_was_too_large(const HttpRequest *request, CURLcode code)
{
	curl_off_t	started = 0;

	curl_easy_getinfo(request->easy, CURLINFO_STARTTRANSFER_TIME_T, &started);
	return ((int) code == CURLE_OUT_OF_MEMORY || (int) code == CURLE_TOO_LARGE) &&
		started > 0 && request->reply.body_bytes == 0;
}

static HttpEnd
request_end(const HttpRequest *request, CURLcode code, bool tls)
{
	if (code != CURLE_OK && request->cut_off != HTTP_ANSWERED)
		return request->cut_off;
	switch (code)
	{
		case CURLE_OK:
			return HTTP_ANSWERED;
		case CURLE_COULDNT_CONNECT:
			return connect_end(request->easy);
		case CURLE_OPERATION_TIMEDOUT:
			return late_end(request, tls);
		case CURLE_GOT_NOTHING:
		case CURLE_PARTIAL_FILE:
		case CURLE_RECV_ERROR:
		case CURLE_SEND_ERROR:
			return HTTP_CLOSED_EARLY;
		case CURLE_UNSUPPORTED_PROTOCOL:	/* HTTP/0.9 */
		case CURLE_WEIRD_SERVER_REPLY:
		case CURLE_BAD_CONTENT_ENCODING:
			return HTTP_NOT_HTTP;
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_ISSUER_ERROR:
			return HTTP_BAD_CERTIFICATE;
		case CURLE_SSL_CONNECT_ERROR:
			return HTTP_NO_TLS;
		default:
			return header_was_too_large(request, code) ? HTTP_HEADERS_TOO_LARGE : HTTP_FAILED;
	}
}

/* Seconds, or a date; -1 if it is neither. */
static int
retry_after_seconds(const char *value)
{
	time_t		at;
	size_t		digits = strspn(value, "0123456789");

	if (digits > 0 && value[digits] == '\0')
		return digits > 9 ? PG_INT32_MAX : atoi(value);
	at = curl_getdate(value, NULL);
	if (at == (time_t) -1)
		return -1;
	return (int) Min(Max(at - time(NULL), 0), PG_INT32_MAX);
}

/* Fills in what is to be known of a request that has ended, before it is let go of. */
void
http_reply_finish(HttpRequest *request, CURLcode code, bool tls)
{
	HttpReply  *reply = &request->reply;
	long		status = 0;

	curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
	reply->end = request_end(request, code, tls);
	reply->status = (int) status;
	reply->ended_us = loop_now_us();
	reply->took_us = reply->ended_us - request->asked_us;
	reply->body[Min(reply->body_bytes, HTTP_BODY_KEPT)] = '\0';
	text_make_printable(reply->retry_after);
	text_make_printable(reply->content_type);
	reply->retry_after_s = reply->retry_after[0] != '\0' ? retry_after_seconds(reply->retry_after) : -1;
	if (reply->end != HTTP_ANSWERED)
		strlcpy(reply->detail, request->error[0] != '\0' ? request->error : curl_easy_strerror(code),
				sizeof(reply->detail));
	text_make_printable(reply->detail);
}
