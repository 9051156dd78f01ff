/*
 * ledger.c
 *		What the hooks have counted: refusals by cause, and logins.
 *
 * A counter never goes back; a reset notes where it stood, so that a process may
 * count at that very moment.
 */
#include "postgres.h"

#include "observe/slots/ledger.h"
#include "shmem/names.h"

/* What was counted since the reset, which is read first: it is not to be the later one. */
static uint64
count_since(pg_atomic_uint64 *counter, pg_atomic_uint64 *reset)
{
	uint64		before = pg_atomic_read_u64(reset);

	pg_read_barrier();
	return pg_atomic_read_u64(counter) - before;
}

uint64
ledger_refusals(Cause cause)
{
	return count_since(&shared->refusals[cause].refusals, &shared->refusals[cause].reset);
}

uint64
ledger_slot_refusals(void)
{
	uint64		sum = 0;

	for (int i = 0; i < LEDGER_CAUSES; i++)
		if (cause_kinds[i].takes_slots)
			sum += ledger_refusals(i);
	return sum;
}

uint64
ledger_logins(void)
{
	return count_since(&shared->opened, &shared->opened_reset);
}

uint64
ledger_refusals_ever(void)
{
	uint64		sum = 0;

	for (int i = 0; i < LEDGER_CAUSES; i++)
		sum += pg_atomic_read_u64(&shared->refusals[i].refusals);
	return sum;
}

uint64
ledger_slot_refusals_ever(void)
{
	uint64		sum = 0;

	for (int i = 0; i < LEDGER_CAUSES; i++)
		if (cause_kinds[i].takes_slots)
			sum += pg_atomic_read_u64(&shared->refusals[i].refusals);
	return sum;
}

uint64
ledger_logins_ever(void)
{
	return pg_atomic_read_u64(&shared->opened);
}

Cause
ledger_last_slot_cause(void)
{
	Cause		last = CAUSE_NONE;
	uint64		last_at = 0;

	for (int i = 0; i < LEDGER_CAUSES; i++)
	{
		uint64		at = pg_atomic_read_u64(&shared->refusals[i].last_at);

		if (cause_kinds[i].takes_slots && at > last_at)
		{
			last = i;
			last_at = at;
		}
	}
	return last;
}

void
ledger_reset(void)
{
	for (int i = 0; i < LEDGER_CAUSES; i++)
	{
		RefusalCounter *counter = &shared->refusals[i];

		pg_atomic_write_u64(&counter->reset, pg_atomic_read_u64(&counter->refusals));
		pg_atomic_write_u64(&counter->first_at, 0);
		pg_atomic_write_u64(&counter->last_at, 0);
	}
	pg_atomic_write_u64(&shared->opened_reset, ledger_logins_ever());
	for (int i = 0; i < ADDRESS_SCOPES; i++)
		names_empty(&shared->refused[i]);
	names_empty(&shared->services);
}
