/*
 * service_borrowers.c
 *		The borrowers of each service: how many sessions each has, and since when.
 *
 * A borrower may be as specific as a single request, so that there are as many as
 * sessions: of each service those with most of them are named.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "api/views/service_borrowers.h"
#include "base/text.h"
#include "observe/slots/borrower.h"

/* Borrowers of a service that are named; the others are counted together. */
#define BORROWERS_SHOWN		5

/* A session that is borrowed. */
typedef struct Borrowed
{
	const Service *service;
	Borrower	borrower;
} Borrowed;

struct ServiceBorrowers
{
	int			n;
	Borrowed	sessions[FLEXIBLE_ARRAY_MEMBER];	/* MaxConnections */
};

/* A borrower of a service, with all its sessions. */
typedef struct BorrowerTotal
{
	const char *name;			/* NULL: all others */
	int			sessions;
	TimestampTz since;			/* the earliest of them */
} BorrowerTotal;

ServiceBorrowers *
service_borrowers_create(void)
{
	ServiceBorrowers *borrowers = palloc_extended(offsetof(ServiceBorrowers, sessions) + sizeof(Borrowed) * MaxConnections, MCXT_ALLOC_HUGE);

	borrowers->n = 0;
	return borrowers;
}

void
service_borrowers_note(ServiceBorrowers *borrowers, const Service *service, int number, const Slot *slot)
{
	Borrowed   *session = &borrowers->sessions[borrowers->n];

	if (!borrower_read(number, slot, &session->borrower) || session->borrower.name[0] == '\0')
		return;
	text_make_printable(session->borrower.name);
	session->service = service;
	borrowers->n++;
}

/* By service, and then by name: sessions of one borrower stand beside each other, the one it has had for longest first. */
static int
compare_borrowed(const void *a, const void *b)
{
	const Borrowed *x = a;
	const Borrowed *y = b;
	int			by_name;

	if (x->service != y->service)
		return x->service < y->service ? -1 : 1;
	by_name = strcmp(x->borrower.name, y->borrower.name);
	if (by_name != 0)
		return by_name;
	return (x->borrower.since > y->borrower.since) - (x->borrower.since < y->borrower.since);
}

void
service_borrowers_sort(ServiceBorrowers *borrowers)
{
	qsort(borrowers->sessions, borrowers->n, sizeof(Borrowed), compare_borrowed);
}

/* Returns where those of the service begin, or would. */
static int
first_of(const ServiceBorrowers *borrowers, const Service *service)
{
	int			from = 0;
	int			to = borrowers->n;

	while (from < to)
	{
		int			middle = from + (to - from) / 2;

		if (borrowers->sessions[middle].service < service)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

/* Adds up the sessions of each borrower, all of one service; returns how many there are. */
static int
totals_read(const Borrowed *sessions, int n, BorrowerTotal *totals)
{
	int			found = 0;

	for (int i = 0; i < n; i++)
	{
		const Borrower *borrower = &sessions[i].borrower;

		if (i == 0 || strcmp(totals[found - 1].name, borrower->name) != 0)
			totals[found++] = (BorrowerTotal) {borrower->name, 0, borrower->since};
		totals[found - 1].sessions++;
	}
	return found;
}

/* Those with most sessions come first, and of these the one that has had one for longest. */
static int
compare_totals(const void *a, const void *b)
{
	const BorrowerTotal *x = a;
	const BorrowerTotal *y = b;

	if (x->sessions != y->sessions)
		return y->sessions - x->sessions;
	if (x->since != y->since)
		return x->since < y->since ? -1 : 1;
	return strcmp(x->name, y->name);
}

static void
total_write(StringInfo json, const BorrowerTotal *total)
{
	char		since[MAXDATELEN + 1];

	JsonEncodeDateTime(since, TimestampTzGetDatum(total->since), TIMESTAMPTZOID, NULL);
	appendStringInfo(json, "%s{\"borrower\": ", json->len > 1 ? ", " : "");
	if (total->name != NULL)
		escape_json(json, total->name);
	else
		appendStringInfoString(json, "null");
	appendStringInfo(json, ", \"sessions\": %d, \"since\": \"%s\"}", total->sessions, since);
}

static char *
totals_json(const BorrowerTotal *totals, int n)
{
	StringInfoData json;
	BorrowerTotal others = {NULL, 0, DT_NOEND};

	initStringInfo(&json);
	appendStringInfoChar(&json, '[');
	for (int i = 0; i < n; i++)
	{
		if (i < BORROWERS_SHOWN)
			total_write(&json, &totals[i]);
		else
		{
			others.sessions += totals[i].sessions;
			others.since = Min(others.since, totals[i].since);
		}
	}
	if (others.sessions > 0)
		total_write(&json, &others);
	appendStringInfoChar(&json, ']');
	return json.data;
}

BorrowedFigures
service_borrowers_of(const ServiceBorrowers *borrowers, const Service *service)
{
	const Borrowed *sessions = &borrowers->sessions[first_of(borrowers, service)];
	const Borrowed *end = &borrowers->sessions[borrowers->n];
	const Borrowed *longest = sessions;
	BorrowedFigures figures = {0};
	BorrowerTotal *totals;
	int			n;

	for (const Borrowed *session = sessions; session < end && session->service == service; session++)
	{
		figures.sessions++;
		if (session->borrower.since < longest->borrower.since)
			longest = session;
	}
	if (figures.sessions == 0)
		return figures;
	figures.name = longest->borrower.name;
	figures.since = longest->borrower.since;
	totals = palloc(sizeof(BorrowerTotal) * figures.sessions);
	n = totals_read(sessions, figures.sessions, totals);
	qsort(totals, n, sizeof(BorrowerTotal), compare_totals);
	figures.json = totals_json(totals, n);
	return figures;
}
