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

extern void answer_request(Answer *answer, const char *method, const char *path, const char *accept);

#endif							/* POOL_EXHAUST_ANSWER_H */
