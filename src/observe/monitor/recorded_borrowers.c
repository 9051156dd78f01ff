/*
 * recorded_borrowers.c
 *		The borrowers in the second that is being recorded.
 *
 * Only those of connections that are suspected by rule "borrowed": what else is borrowed
 * changes with each request, and is no news.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "observe/monitor/leak_detector.h"
#include "observe/monitor/recorded_borrowers.h"
#include "observe/monitor/recorded_services.h"
#include "observe/slots/borrower.h"

/* So many different ones are counted; of more the rest is left out. */
#define COUNTED_MAX		64

/* Returns the place of the service that the session in the slot is of. */
static int
place_of(const RecordedSecond *second, const Slot *slot)
{
	char		name[NAMEDATALEN];

	recorded_name(name, slot->application_name);
	foreach_recorded_service(second, service)
		if (service->role == slot->role && strcmp(service->application_name, name) == 0)
			return (int) (service - second->services);
	return RECORDED_OTHERS;
}

/* Counts one more connection of that borrower; returns how many there are. */
static int
count(RecordedBorrower *counted, int n, const RecordedBorrower *one)
{
	for (int i = 0; i < n; i++)
		if (counted[i].place == one->place && strcmp(counted[i].name, one->name) == 0)
		{
			counted[i].sessions++;
			return n;
		}
	if (n < COUNTED_MAX)
		counted[n++] = *one;
	return n;
}

static int
compare_borrowers(const void *a, const void *b)
{
	const RecordedBorrower *x = a;
	const RecordedBorrower *y = b;

	return x->sessions != y->sessions ? y->sessions - x->sessions : strcmp(x->name, y->name);
}

void
recorded_borrowers_note(RecordedSecond *second)
{
	RecordedBorrower counted[COUNTED_MAX];
	int			n = 0;

	for (int i = 0; i < MaxConnections && recorder_names && second->suspects[LEAK_BORROWED] > 0; i++)
	{
		RecordedBorrower one = {.sessions = 1};
		Borrower	borrower;
		Slot		slot;

		if (!slot_read(i, &slot) || suspect_rule(i, &slot) != LEAK_BORROWED || !borrower_read(i, &slot, &borrower) || borrower.name[0] == '\0')
			continue;
		one.place = place_of(second, &slot);
		recorded_text(one.name, borrower.name, BORROWER_LEN);
		n = count(counted, n, &one);
	}
	qsort(counted, n, sizeof(RecordedBorrower), compare_borrowers);
	second->nborrowers = Min(n, RECORDED_BORROWERS_MAX);
	memcpy(second->borrowers, counted, sizeof(RecordedBorrower) * second->nborrowers);
}
