/*
 * record.c
 *		What the flight recorder keeps of a second: what follows from it.
 */
#include "postgres.h"

#include "base/recorder/record.h"

const char *const recorded_event_names[RECORDED_EVENT_TYPES] = {RECORDED_EVENT_LIST(LIST_WORD)};

/* Slots taken, logins under way included. */
int
recorded_in_use(const RecordedSecond *second)
{
	return slot_states_sum(second->by_state);
}

/* Reserved slots that are taken: those beyond what a role without a right to them can have. */
int
recorded_reserved_in_use(const RecordedSecond *second)
{
	return Max(recorded_in_use(second) - second->capacity, 0);
}

uint64
recorded_refused(const RecordedSecond *second)
{
	uint64		refused = 0;

	for (int i = 0; i < LEDGER_CAUSES; i++)
		refused += second->refused[i];
	return refused;
}

/*
 * A server that starts or stops refuses logins, too; that it was not there is no lack
 * of connections, and makes no incident by itself.
 */
bool
recorded_is_ill(const RecordedSecond *second)
{
	return second->kind == RECORDED_SECOND &&
		(second->health >= HEALTH_CRITICAL || recorded_refused(second) > second->refused[CAUSE_NOT_ACCEPTING]);
}

bool
recorded_refusals_known(const RecordedSecond *second)
{
	for (int i = 0; i < second->nevents; i++)
		if (second->events[i].type == EVENT_LEDGER_BLIND)
			return false;
	return true;
}

void
recorded_text(char *dst, const char *src, int size)
{
	int			i = 0;

	for (; src[i] != '\0' && i < size - 1; i++)
		dst[i] = src[i] >= ' ' && src[i] <= '~' ? src[i] : '?';
	memset(dst + i, 0, size - i);
}

void
recorded_name(char *dst, const char *src)
{
	recorded_text(dst, src, NAMEDATALEN);
}
