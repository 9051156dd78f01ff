/*
 * names.c
 *		Bounded tables of names, with a counter each, for processes that may
 *		take no lock and must not allocate.
 *
 * Open addressing with a short, fixed walk.  Two processes that bring the same
 * new names at the same time may each get a place, so readers add up equal
 * names.  Names may come from clients that have not been authenticated.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "shmem/names.h"

/* Entries to try before a name is counted among the others. */
#define PROBES_MAX 16

/*
 * Copies a name from a client: printable ASCII stays, every other byte becomes
 * '?', what is too long is cut.
 */
static void
name_sanitise(char *dst, const char *src)
{
	int			i = 0;

	if (src != NULL)
		for (; src[i] != '\0' && i < NAMEDATALEN - 1; i++)
			dst[i] = (src[i] >= ' ' && src[i] <= '~') ? src[i] : '?';
	memset(dst + i, 0, NAMEDATALEN - i);
}

/* Any of the names may be NULL; there is no address. */
void
names_fill(Names *names, Cause cause, const char *usename, const char *datname,
		   const char *application_name)
{
	memset(names, 0, sizeof(*names));
	names->cause = cause;
	name_sanitise(names->usename, usename);
	name_sanitise(names->datname, datname);
	name_sanitise(names->application_name, application_name);
}

/* Names are filled up with zeros, so they are equal byte by byte. */
static uint32
names_hash(const Names *names)
{
	return hash_bytes((const unsigned char *) names, sizeof(*names));
}

/* Claims an empty place for these names; false if another process was faster. */
static bool
names_claim(NameEntry *entry, const Names *names)
{
	uint32		empty = NAME_EMPTY;

	if (!pg_atomic_compare_exchange_u32(&entry->state, &empty, NAME_WRITING))
		return false;
	entry->names = *names;
	pg_atomic_write_u32(&entry->peak, 0);
	pg_atomic_write_u64(&entry->count, 0);
	pg_atomic_write_u64(&entry->last_at, 0);
	pg_write_barrier();
	pg_atomic_write_u32(&entry->state, NAME_READY);
	return true;
}

NameEntry *
names_entry(NameTable *table, int i)
{
	NameEntry  *entry = &table->entries[i];

	if (pg_atomic_read_u32(&entry->state) != NAME_READY)
		return NULL;
	pg_read_barrier();
	return entry;
}

static bool
names_match(NameTable *table, int i, const Names *names)
{
	NameEntry  *entry = names_entry(table, i);

	return entry != NULL && memcmp(&entry->names, names, sizeof(*names)) == 0;
}

/*
 * Returns the entry of these names; if there is none, and "make" says so, makes
 * one.  NULL if there is none, or no place for it.
 */
NameEntry *
names_find(NameTable *table, const Names *names, bool make)
{
	uint32		hash = names_hash(names);

	for (int probe = 0; probe < PROBES_MAX; probe++)
	{
		int			i = (hash + probe) % NAMES_MAX;

		if (names_match(table, i, names) ||
			(make && names_claim(&table->entries[i], names)))
			return &table->entries[i];
	}
	return NULL;
}

/* What all entries of these names have together. */
void
names_add_up(NameTable *table, const Names *names, int64 *count, int *peak)
{
	uint32		hash = names_hash(names);

	*count = *peak = 0;
	for (int probe = 0; probe < PROBES_MAX; probe++)
	{
		int			i = (hash + probe) % NAMES_MAX;

		if (!names_match(table, i, names))
			continue;
		*count += pg_atomic_read_u64(&table->entries[i].count);
		*peak = Max(*peak, (int) pg_atomic_read_u32(&table->entries[i].peak));
	}
}

/* Counts these names; false if the table has no place for them. */
bool
names_count(NameTable *table, const Names *names, TimestampTz now)
{
	NameEntry  *entry = names_find(table, names, true);

	if (entry == NULL)
		return false;
	pg_atomic_fetch_add_u64(&entry->count, 1);
	pg_atomic_write_u64(&entry->last_at, (uint64) now);
	return true;
}

/* Counts names that found no place. */
void
names_count_others(NameTable *table, TimestampTz now)
{
	pg_atomic_fetch_add_u64(&table->others, 1);
	pg_atomic_write_u64(&table->others_at, (uint64) now);
}

/* All that was counted for a cause and a role or database; NULL means any. */
uint64
names_sum(NameTable *table, Cause cause, const char *usename, const char *datname)
{
	Names		wanted;
	uint64		sum = 0;

	names_fill(&wanted, cause, usename, datname, NULL);
	for (int i = 0; i < NAMES_MAX; i++)
	{
		NameEntry  *entry = names_entry(table, i);

		if (entry != NULL && entry->names.cause == cause &&
			(usename == NULL || strcmp(entry->names.usename, wanted.usename) == 0) &&
			(datname == NULL || strcmp(entry->names.datname, wanted.datname) == 0))
			sum += pg_atomic_read_u64(&entry->count);
	}
	return sum;
}

/* Forgets all names.  What is counted at this very moment may be lost. */
void
names_empty(NameTable *table)
{
	for (int i = 0; i < NAMES_MAX; i++)
	{
		uint32		ready = NAME_READY;

		/* Others see either the old names or none. */
		pg_atomic_compare_exchange_u32(&table->entries[i].state, &ready, NAME_EMPTY);
	}
	pg_atomic_write_u64(&table->others, 0);
	pg_atomic_write_u64(&table->others_at, 0);
}
