/*
 * incidents.c
 *		The incidents of a time, from what was recorded then.
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "advise/incident/incidents.h"
#include "observe/recorder/recording.h"

bool
incidents_between(TimestampTz from, TimestampTz to, int blocks_max,
				  void (*found) (Incident *incident, void *arg), void *arg)
{
	Recording  *recording = recording_open(from, to, RECORDING_ILL, blocks_max);
	IncidentFinder *finder = incident_finder(found, arg);
	const RecordedSecond *second;
	bool		all = !recording_is_cut(recording);

	while ((second = recording_next(recording)) != NULL)
	{
		if (blocks_max == RECORDING_NO_LIMIT)
			CHECK_FOR_INTERRUPTS();
		incident_take(finder, second);
	}
	incident_finish(finder, GetCurrentTimestamp());
	recording_close(recording);
	return all;
}

typedef struct Search
{
	TimestampTz at;
	Incident   *best;
} Search;

/* The incidents come in their order: the last that began by then, or else the first of all. */
static void
search_note(Incident *incident, void *arg)
{
	Search	   *search = arg;

	if (search->best != NULL && incident->started_at > search->at)
		return;
	if (search->best == NULL)
		search->best = palloc(sizeof(Incident));
	*search->best = *incident;
	if (incident->end_by != NULL)
		search->best->end_by = search->best->services + (incident->end_by - incident->services);
}

Incident *
incident_at(TimestampTz at, bool latest, int blocks_max)
{
	Search		search = {.at = latest ? DT_NOEND : at};

	if (latest)
		incidents_between(DT_NOBEGIN, DT_NOEND, blocks_max, search_note, &search);
	else
		incidents_between(at - INCIDENT_AT_US, at + INCIDENT_AT_US, blocks_max, search_note, &search);
	return search.best;
}

/* ---------- Words ---------- */

char *
incident_refused_text(const Incident *incident)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < LEDGER_CAUSES; i++)
		if (incident->refused[i] > 0)
			appendStringInfo(&text, "%s%s " UINT64_FORMAT, text.len > 0 ? ", " : "", cause_kinds[i].name, incident->refused[i]);
	return text.len > 0 ? text.data : NULL;
}

char *
incident_borrowed_text(const Incident *incident)
{
	StringInfoData text;

	if (incident->borrowed == 0)
		return NULL;
	initStringInfo(&text);
	appendStringInfo(&text, "%d connection%s idle and still borrowed", incident->borrowed, incident->borrowed == 1 ? " was" : "s were");
	for (int i = 0; i < incident->nborrowers; i++)
		appendStringInfo(&text, "%s%s of %s (%d)", i == 0 ? ": " : ", ", incident->borrowers[i].name, incident->borrowers[i].service,
						 incident->borrowers[i].sessions);
	return text.data;
}

/* What ended it, in words. */
char *
incident_end_text(const Incident *incident)
{
	switch (incident->end)
	{
		case END_UNDER_WAY:
			return pstrdup("it is under way");
		case END_GIVEN_BACK:
			return psprintf("%s gave back %d connections", incident->end_by->name, incident->end_count);
		case END_HEALED:
			return psprintf("the healer ended %d sessions", incident->end_count);
		case END_RAISED:
			return psprintf("the capacity was raised from %d to %d", incident->end_before, incident->end_count);
		case END_RESTARTED:
			return pstrdup("the server was started again");
		case END_UNKNOWN:
			return pstrdup("not known: nothing was recorded after it");
		default:
			return pstrdup("no login was refused any more");
	}
}
