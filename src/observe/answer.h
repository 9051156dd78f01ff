/*
 * answer.h
 *		What there is to read over HTTP.
 */
#ifndef POOL_EXHAUST_ANSWER_H
#define POOL_EXHAUST_ANSWER_H

#include "lib/stringinfo.h"

typedef struct Answer
{
	int			status;
	const char *content_type;
	int			retry_after_s;	/* header Retry-After; 0: none */
	const char *allow;			/* header Allow, or NULL */
	StringInfo	body;
} Answer;

/* The status codes that answers have. */
extern const int answer_statuses[];
extern const int nanswer_statuses;

extern void answer_request(Answer *answer, const char *method, const char *path, const char *accept);

extern void openmetrics_write(StringInfo out, bool openmetrics);

#endif							/* POOL_EXHAUST_ANSWER_H */
