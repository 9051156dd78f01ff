/*
 * drive_crowd.c
 *		What a driver says of its share of a crowd, as rows: "crowd connected".
 */
#include "postgres.h"

#include "load/drive_crowd.h"

#define PART			"crowd "
#define PART_REFUSED	PART "refused"
#define PART_ENDED		PART "ended"	/* key: the end */
#define PART_WINDOW		PART "granted in"	/* key: the window */

#define NUMBER_FIELD(name_)	{PART #name_, offsetof(DriveCrowd, name_)},
#define PUT_NUMBER(name)	put(arg, PART #name, 0, (int64) crowd->name, NULL);

static const struct
{
	const char *item;
	size_t		offset;
}			numbers[] = {CROWD_NUMBERS(NUMBER_FIELD)};

void
drive_crowd_write(const Crowd *crowd, DriveRowPut put, void *arg)
{
	CROWD_NUMBERS(PUT_NUMBER);
	put(arg, PART_REFUSED, 0, crowd_refused(crowd), NULL);
	for (int i = 0; i < lengthof(crowd->ended); i++)
		if (crowd->ended[i] > 0)
			put(arg, PART_ENDED, i, (int64) crowd->ended[i], NULL);
	for (int i = 0; i < CROWD_WINDOWS; i++)
		if (crowd->granted_in[i] > 0)
			put(arg, PART_WINDOW, i, crowd->granted_in[i], NULL);
}

static void
row_read(DriveCrowd *said, const char *item, int64 key, int64 value)
{
	for (int i = 0; i < lengthof(numbers); i++)
		if (strcmp(item, numbers[i].item) == 0)
			*(int64 *) ((char *) said + numbers[i].offset) = Max(value, 0);
	if (strcmp(item, PART_REFUSED) == 0)
		said->refused = Max(value, 0);
	else if (strcmp(item, PART_ENDED) == 0 && key >= 0 && key < lengthof(said->ended))
		said->ended[key] = (uint64) Max(value, 0);
	else if (strcmp(item, PART_WINDOW) == 0 && key >= 0 && key < CROWD_WINDOWS)
		said->granted_in[key] = (uint32) Max(value, 0);
}

/* Reads what a report says of a crowd; all is 0 if it says nothing.  It runs inside the loop. */
void
drive_crowd_read(const PGresult *rows, DriveCrowd *said)
{
	memset(said, 0, sizeof(*said));
	if (PQnfields(rows) != 4)
		return;
	for (int i = 0; i < PQntuples(rows); i++)
	{
		const char *item = PQgetvalue(rows, i, 0);

		if (strncmp(item, PART, strlen(PART)) == 0)
			row_read(said, item, strtoll(PQgetvalue(rows, i, 1), NULL, 10), strtoll(PQgetvalue(rows, i, 2), NULL, 10));
	}
}
