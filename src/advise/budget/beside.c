/*
 * beside.c
 *		What runs beside the declared services: the peaks of others, as the monitor has
 *		seen them, and what they hold now.
 *
 * Peaks of different services need not have been at one time, so their sum is an upper
 * bound.  They are kept by role and application_name; by database, and of walsenders,
 * only what is open now is known.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "advise/budget/budget.h"
#include "base/compat.h"
#include "observe/slots/slot.h"
#include "shmem/names.h"

/* Is it a role that runs make for themselves? */
static bool
is_role_of_run(const char *role)
{
	const char *digits = role + strlen(ROLE_PREFIX);

	return strncmp(role, ROLE_PREFIX, strlen(ROLE_PREFIX)) == 0 && digits[0] != '\0' &&
		strspn(digits, "0123456789") == strlen(digits);
}

/* Is a service of these names neither declared nor of a run? */
static bool
is_beside(const Budget *budget, const Names *names)
{
	ListCell   *cell;

	foreach(cell, budget->services)
	{
		const DeclaredService *service = lfirst(cell);

		if (strcmp(service->names->usename, names->usename) == 0 &&
			(service->application_name == NULL || strcmp(service->names->application_name, names->application_name) == 0))
			return false;
	}
	return !is_role_of_run(names->usename);
}

/* Returns the peak of the service of these names, a new one of 0 if there is none. */
static BesidePeak *
peak_get(Beside *beside, const Names *names)
{
	BesidePeak *peak;

	for (int i = 0; i < beside->npeaks; i++)
		if (memcmp(beside->peaks[i].names, names, sizeof(Names)) == 0)
			return &beside->peaks[i];
	peak = &beside->peaks[beside->npeaks++];
	*peak = (BesidePeak) {palloc(sizeof(Names))};
	*peak->names = *names;
	return peak;
}

/* The peaks that the monitor has seen. */
static void
peaks_read(Budget *budget)
{
	for (int i = 0; i < NAMES_MAX; i++)
	{
		NameEntry  *entry = names_entry(&shared->services, i);
		int64		opened;

		/* Of equal names the first stands for all. */
		if (entry == NULL || names_find(&shared->services, &entry->names, false) != entry ||
			!is_beside(budget, &entry->names))
			continue;
		names_add_up(&shared->services, &entry->names, &opened, &peak_get(&budget->beside, &entry->names)->sessions);
	}
	budget->beside.unnamed = pg_atomic_read_u64(&shared->services.others);
}

/* Is it a session of a service that is not declared?  Its names go to "names". */
static bool
session_is_beside(const Budget *budget, const Slot *slot, Names *names)
{
	const char *role = OidIsValid(slot->role) ? GetUserNameFromId(slot->role, true) : NULL;

	names_fill(names, CAUSE_NONE, role, NULL, slot->application_name);
	return role != NULL && is_beside(budget, names);
}

/* The sessions of this moment: no sample may have seen the newest. */
static void
sessions_read(Budget *budget)
{
	Beside	   *beside = &budget->beside;
	int			number = 0;
	Names		names;
	Slot		slot;

	for (int i = 0; i < MaxConnections; i++)
	{
		BesidePeak *peak;

		if (!slot_read(i, &slot) || !session_is_beside(budget, &slot, &names))
			continue;
		beside->databases[beside->ndatabases++] = slot.database;
		peak = peak_get(beside, &names);
		peak->now++;
		peak->sessions = Max(peak->sessions, peak->now);
	}
	while (walsender_read(&number, &slot))
		beside->walsenders += session_is_beside(budget, &slot, &names);
}

/* Reads what others hold: their peaks, and their sessions of this moment.  The services are known. */
void
beside_read(Budget *budget)
{
	Beside	   *beside = &budget->beside;

	beside->known = shared != NULL;
	beside->peaks = palloc(sizeof(BesidePeak) * (NAMES_MAX + MaxConnections));
	beside->databases = palloc(sizeof(Oid) * MaxConnections);
	if (beside->known)
		peaks_read(budget);
	sessions_read(budget);
	for (int i = 0; i < beside->npeaks; i++)
	{
		beside->sessions += beside->peaks[i].sessions;
		beside->services += beside->peaks[i].sessions > 0;
	}
}

/* Returns the peaks of the role's services that are not declared. */
double
beside_of_role(const Budget *budget, const char *role)
{
	double		sessions = 0;
	Names		names;

	names_fill(&names, CAUSE_NONE, role, NULL, NULL);
	for (int i = 0; i < budget->beside.npeaks; i++)
		if (strcmp(budget->beside.peaks[i].names->usename, names.usename) == 0)
			sessions += budget->beside.peaks[i].sessions;
	return sessions;
}

/* Returns the sessions in that database, now, of services that are not declared. */
double
beside_of_database(const Budget *budget, const char *database)
{
	Oid			oid = get_database_oid(database, true);
	double		sessions = 0;

	for (int i = 0; i < budget->beside.ndatabases; i++)
		sessions += budget->beside.databases[i] == oid;
	return sessions;
}
