/*
 * ledger.c
 *		What the hooks have counted: refusals by cause, and logins.
 *
 * A counter never goes back; a reset notes where it stood, so that a process may
 * count at that very moment.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "base/compat.h"
#include "observe/slots/ledger.h"
#include "shmem/names.h"

const RefusedProcessKind refused_processes[] = {REFUSED_PROCESS_LIST(LIST_ROW)};

/* What was counted since the reset, which is read first: it is not to be the later one. */
static uint64
count_since_reset(LedgerCounter *counter)
{
	uint64		before = pg_atomic_read_u64(&counter->reset);

	pg_read_barrier();
	return pg_atomic_read_u64(&counter->count) - before;
}

static void
counter_reset(LedgerCounter *counter)
{
	pg_atomic_write_u64(&counter->reset, pg_atomic_read_u64(&counter->count));
}

uint64
ledger_refusals(Cause cause)
{
	return count_since_reset(&shared->refusals[cause].all);
}

uint64
ledger_run_refusals(Cause cause)
{
	return count_since_reset(&shared->refusals[cause].of_runs);
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
	return count_since_reset(&shared->opened);
}

uint64
ledger_run_logins(void)
{
	return count_since_reset(&shared->run_opened);
}

uint64
ledger_cause_refusals_ever(Cause cause)
{
	return pg_atomic_read_u64(&shared->refusals[cause].all.count);
}

uint64
ledger_refusals_ever(void)
{
	uint64		sum = 0;

	for (int i = 0; i < LEDGER_CAUSES; i++)
		sum += ledger_cause_refusals_ever(i);
	return sum;
}

uint64
ledger_slot_refusals_ever(void)
{
	uint64		sum = 0;

	for (int i = 0; i < LEDGER_CAUSES; i++)
		if (cause_kinds[i].takes_slots)
			sum += ledger_cause_refusals_ever(i);
	return sum;
}

uint64
ledger_logins_ever(void)
{
	return pg_atomic_read_u64(&shared->opened.count);
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
ledger_note_blindness(void)
{
	for (int i = 0; i < REFUSED_PROCESSES; i++)
	{
		LedgerBlind *blind = &shared->blind[i];
		bool		was = pg_atomic_read_u64(&blind->since) != 0;
		bool		is = compat_log_level(refused_processes[i].type) > FATAL;

		/* In this order one of the two always says that it was blind. */
		if (was && !is)
			pg_atomic_write_u64(&blind->until, (uint64) GetCurrentTimestamp());
		pg_write_barrier();
		if (was != is)
			pg_atomic_write_u64(&blind->since, is ? (uint64) GetCurrentTimestamp() : 0);
	}
}

uint64
ledger_blind_since(RefusedProcess process)
{
	return pg_atomic_read_u64(&shared->blind[process].since);
}

/*
 * Walsenders have a limit of their own, and none of the others; but the server refuses
 * them, too, while it accepts no clients, or has all the children it may.
 */
uint64
ledger_cause_blind_since(Cause cause)
{
	bool		any = cause == CAUSE_CHILD_PROCESSES || cause == CAUSE_NOT_ACCEPTING || cause == CAUSE_OTHER_LIMIT;
	uint64		backend = cause != CAUSE_WALSENDER_LIMIT ? ledger_blind_since(REFUSED_BACKEND) : 0;
	uint64		walsender = any || cause == CAUSE_WALSENDER_LIMIT ? ledger_blind_since(REFUSED_WALSENDER) : 0;

	return backend == 0 || walsender == 0 ? Max(backend, walsender) : Min(backend, walsender);
}

bool
ledger_was_blind(RefusedProcess process, TimestampTz then)
{
	uint64		since = ledger_blind_since(process);

	pg_read_barrier();
	return since != 0 || (TimestampTz) pg_atomic_read_u64(&shared->blind[process].until) >= then;
}

void
ledger_reset(void)
{
	for (int i = 0; i < LEDGER_CAUSES; i++)
	{
		RefusalCounter *counter = &shared->refusals[i];

		counter_reset(&counter->all);
		counter_reset(&counter->of_runs);
		pg_atomic_write_u64(&counter->first_at, 0);
		pg_atomic_write_u64(&counter->last_at, 0);
	}
	counter_reset(&shared->opened);
	counter_reset(&shared->run_opened);
	for (int i = 0; i < ADDRESS_SCOPES; i++)
		names_empty(&shared->refused[i]);
	names_empty(&shared->services);
}
