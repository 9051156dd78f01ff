/*
 * http_url.c
 *		The URL of a service: is it one, and what is in it?
 */
#include "postgres.h"

#include "load/http/http_client.h"
#include "load/http/http_reply.h"

/* What curl finds in a URL, to be freed by curl_free(); NULL if it is not there. */
static char *
url_part(CURLU *url, CURLUPart part, unsigned int flags)
{
	char	   *text = NULL;

	return curl_url_get(url, part, &text, flags) == CURLUE_OK ? text : NULL;
}

static bool
url_has(CURLU *url, CURLUPart part)
{
	char	   *text = url_part(url, part, 0);
	bool		found = text != NULL;

	curl_free(text);
	return found;
}

static bool
is_ascii(const char *text)
{
	for (; *text != '\0'; text++)
		if (IS_HIGHBIT_SET(*text) || *text <= ' ')
			return false;
	return true;
}

static const char *
url_find_error(CURLU *url, const char *text)
{
	if (!is_ascii(text))
		return "it has characters that must be encoded";
	if (pg_strncasecmp(text, "http://", 7) != 0 && pg_strncasecmp(text, "https://", 8) != 0)
		return "it must begin with http:// or https://";
	if (curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK)
		return "it is no valid URL";
	if (url_has(url, CURLUPART_USER) || url_has(url, CURLUPART_PASSWORD))
		return "user and password do not belong there";
	if (url_has(url, CURLUPART_QUERY) || url_has(url, CURLUPART_FRAGMENT) || strpbrk(text, "?#") != NULL)
		return "a query or a fragment does not belong there";
	return NULL;
}

/*
 * Returns what is wrong with the URL of a service, a constant, or NULL if
 * nothing is: scheme://host[:port][/prefix].
 */
const char *
http_url_error(const char *url)
{
	CURLU	   *parsed = curl_url();
	const char *error = parsed == NULL ? "out of memory" : url_find_error(parsed, url);

	curl_url_cleanup(parsed);
	return error;
}

/*
 * Takes the URL apart: whether it is https, and its host and port, which the
 * caller gives back by curl_free().  ERROR if it is none.
 */
void
http_url_parse(const char *text, bool *tls, char **host, char **port)
{
	CURLU	   *url = curl_url();
	const char *error = url == NULL ? "out of memory" : url_find_error(url, text);

	if (error == NULL)
	{
		*tls = pg_strncasecmp(text, "https:", 6) == 0;
		*host = url_part(url, CURLUPART_HOST, 0);
		*port = url_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT);
		if (*host == NULL || *port == NULL)
			error = "it is no valid URL";
	}
	curl_url_cleanup(url);
	if (error != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid URL of an HTTP service: %s", error)));
}
