/*
 * take.c
 *		What has come of the answer to a query.
 */
#include "postgres.h"

#include "load/take.h"

/*
 * The first error stands for the query, or else its last result; of rows that come
 * one by one, and end with a result that has none, the first.
 */
static void
take_result(Answer *answer, PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);
	bool		failed = answer->result != NULL && PQresultStatus(answer->result) == PGRES_FATAL_ERROR;
	bool		read_past = answer->in_rows && (status == PGRES_SINGLE_TUPLE || status == PGRES_TUPLES_OK);

	answer->in_rows = status == PGRES_SINGLE_TUPLE;
	if (failed || read_past)
	{
		PQclear(result);
		return;
	}
	PQclear(answer->result);
	answer->result = result;
}

/*
 * Takes results from libpq, as far as they have come, into the answer.  COPY would
 * wait for data that there is not; a session in the middle of one is as good as lost.
 */
Taken
take_results(PGconn *conn, Answer *answer)
{
	while (!PQisBusy(conn))
	{
		PGresult   *result = PQgetResult(conn);

		if (result == NULL)
			return TAKEN_ANSWER;
		switch (PQresultStatus(result))
		{
			case PGRES_COPY_IN:
			case PGRES_COPY_OUT:
			case PGRES_COPY_BOTH:
				PQclear(result);
				return TAKEN_END;
			default:
				take_result(answer, result);
		}
	}
	return TAKEN_ALL;
}
