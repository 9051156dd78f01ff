/*
 * take.h
 *		What has come of the answer to a query.
 */
#pragma once

#include "libpq-fe.h"

/* All zero is one that has not begun. */
typedef struct Answer
{
	PGresult   *result;			/* the first error, or the last result; its first row alone if rows come one by one */
	bool		in_rows;		/* further rows are read past */
} Answer;

typedef enum Taken
{
	TAKEN_ALL,					/* that has come so far */
	TAKEN_ANSWER,				/* the query is over */
	TAKEN_END					/* the session is lost */
} Taken;

extern Taken take_results(PGconn *conn, Answer *answer);
