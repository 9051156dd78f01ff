/*
 * heal_log.c
 *		What the healer did: the last acts, for the log, the view and runs.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "base/text.h"
#include "observe/monitor/healer.h"
#include "observe/monitor/strategy.h"
#include "observe/slots/census.h"
#include "shmem/ring.h"

static uint64 logged;			/* acts that this process has logged */

/*
 * Copies the first act after "seen" that the log still has, and moves "seen"
 * behind it; false if there is none.  Takes the lock.
 */
bool
heal_log_read(uint64 *seen, HealLogEntry *record)
{
	const Observed *observed = &shared->observed;

	return ring_read(observed->heals, sizeof(HealLogEntry), HEALS_MAX,
					 &observed->heals_written, seen, record);
}

/*
 * Logs what healers did and this process has not logged yet.  To be called by the
 * monitor now and then.
 */
void
heal_log_write(void)
{
	HealLogEntry record;

	while (heal_log_read(&logged, &record))
		ereport(LOG,
				(errmsg("pool_exhaust: terminated session %d of \"%s\", by strategy %s",
						record.pid, text_printable(record.service), strategies[record.strategy].name),
				 errdetail("Rule \"%s\": %s.", leak_rules[record.rule]->name, text_printable(record.evidence))));
}

/* How many acts there were. */
uint64
heal_log_now(void)
{
	return ring_written(&shared->observed.heals_written);
}

/* A new monitor does not log again what the one before it has logged. */
void
heal_log_skip(void)
{
	logged = heal_log_now();
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
	HealLogEntry record;
	int			last = NO_STRATEGY;

	*n = 0;
	initStringInfo(&text);
	while (heal_log_read(&since, &record))
	{
		if (!role_is_one_of(record.role, roles, nroles))
			continue;
		(*n)++;
		if (record.strategy != last)
			appendStringInfo(&text, "%s%s", text.len > 0 ? " > " : "", strategies[record.strategy].name);
		last = record.strategy;
	}
	return text.data;
}
