/*
 * heal_log.c
 *		What the healer did: the last acts, for the log, the view and runs.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/timestamp.h"

#include "observe/monitor/healer.h"
#include "observe/monitor/strategy.h"

static uint64 told;				/* acts that this process has logged */

/*
 * Copies the first act after "seen" that the log still has, and moves "seen"
 * behind it; false if there is none.  Takes the lock.
 */
bool
heal_log_read(uint64 *seen, HealLogEntry *record)
{
	Observed   *observed = &shared->observed;
	bool		found;

	LWLockAcquire(shared->observe_lock, LW_SHARED);
	if (observed->heals_written > HEALS_MAX)
		*seen = Max(*seen, observed->heals_written - HEALS_MAX);
	found = *seen < observed->heals_written;
	if (found)
		*record = observed->heals[(*seen)++ % HEALS_MAX];
	LWLockRelease(shared->observe_lock);
	return found;
}

/*
 * Logs what healers did and this process has not told yet.  To be called by the
 * monitor now and then.
 */
void
heal_log_write(void)
{
	HealLogEntry	record;

	while (heal_log_read(&told, &record))
		ereport(LOG,
				(errmsg("pool_exhaust: told session %d of \"%s\" to end, by strategy %s",
						record.pid, record.service, strategies[record.strategy].name),
				 errdetail("Rule \"%s\": %s.", leak_rule_names[record.rule], record.evidence)));
}

/* How many acts there were. */
uint64
heal_log_now(void)
{
	uint64		now;

	LWLockAcquire(shared->observe_lock, LW_SHARED);
	now = shared->observed.heals_written;
	LWLockRelease(shared->observe_lock);
	return now;
}

/* A new monitor does not tell again what the one before it has told. */
void
heal_log_skip(void)
{
	told = heal_log_now();
}

/*
 * Returns by which strategies sessions of these roles were ended after the first
 * "since" acts, in their order and each named once, palloc'd; "n" is how many
 * acts that were.
 */
char *
heal_log_text(const Oid *roles, int nroles, uint64 since, int *n)
{
	StringInfoData text;
	HealLogEntry	record;
	int			last = NO_STRATEGY;

	*n = 0;
	initStringInfo(&text);
	while (heal_log_read(&since, &record))
	{
		bool		ours = false;

		for (int i = 0; i < nroles; i++)
			ours |= record.role == roles[i];
		if (!ours)
			continue;
		(*n)++;
		if (record.strategy != last)
			appendStringInfo(&text, "%s%s", text.len > 0 ? " > " : "", strategies[record.strategy].name);
		last = record.strategy;
	}
	return text.data;
}
