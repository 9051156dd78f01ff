/*
 * recording.h
 *		What the flight recorder has kept: second after second, in their order.
 *
 * For any process, also while the monitor goes on writing: what is not complete yet is
 * the end.  Begin with recording_open(), take what recording_next() returns until that
 * is NULL, and call recording_close().  A backend that takes much should check for
 * interrupts itself; its error closes the file.
 *
 * A second is measured; or it is a gap, in which nothing was measured: never take that
 * for zeros.  Counters of the first second after a gap may be those of the gap, too.
 * Time that neither has is not in the file.
 */
#pragma once

#include "base/recorder/record.h"

typedef struct Recording Recording;

typedef enum RecordingPart
{
	RECORDING_ALL,
	RECORDING_ILL,				/* what is healthy, and not in the hour before an incident, comes as
								 * RECORDED_CALM where whole blocks of the file are so */
} RecordingPart;

/* So many blocks are read in a call that has no limit of its own. */
#define RECORDING_NO_LIMIT	PG_INT32_MAX

/* The longest time before an incident that is read for how it came to it. */
#define RECORDING_LOOKBACK_US	(USECS_PER_HOUR)

/*
 * Opens what was recorded between two moments, roughly: seconds before and after that
 * come, too.  Of more blocks than "most" the latest are read.  Palloc'd; never NULL:
 * without a file there are no seconds.
 */
extern Recording *recording_open(TimestampTz from, TimestampTz to, RecordingPart part, int most);

/* The next second, which stands until the next call; NULL: there is none. */
extern const RecordedSecond *recording_next(Recording *recording);

/* Were there more blocks than that? */
extern bool recording_is_cut(const Recording *recording);

extern void recording_close(Recording *recording);
