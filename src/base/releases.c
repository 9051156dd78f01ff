/*
 * releases.c
 *		How fast a pool's connections come back, and so when to try again.
 */
#include "postgres.h"

#include <math.h>

#include "base/releases.h"

#define BUCKET_US			(RELEASES_US / RELEASE_BUCKETS)

/*
 * A header has whole seconds, and a client that waits longer than the time that
 * releases are counted for has no measurement to trust.
 */
#define RETRY_AFTER_MIN_S	1
#define RETRY_AFTER_MAX_S	60

/* Counts from now on. */
void
releases_begin(Releases *releases, uint64 now_us)
{
	memset(releases, 0, sizeof(*releases));
	releases->since_us = now_us;
	releases->bucket = now_us / BUCKET_US;
}

/* Moves on to the bucket of this moment; those in between saw no release. */
static void
releases_advance(Releases *releases, uint64 now_us)
{
	uint64		bucket = now_us / BUCKET_US;

	if (bucket > releases->bucket + RELEASE_BUCKETS)
		releases->bucket = bucket - RELEASE_BUCKETS;
	while (releases->bucket < bucket)
		releases->released[++releases->bucket % RELEASE_BUCKETS] = 0;
}

void
releases_add(Releases *releases, int n, uint64 now_us)
{
	releases_advance(releases, now_us);
	releases->released[releases->bucket % RELEASE_BUCKETS] += n;
}

/*
 * Returns the seconds until a connection should be free for a client that comes
 * now: (queue ahead + 1) / releases per second, rounded up; 0 if no release was
 * seen.
 */
int
releases_retry_after_s(Releases *releases, int ahead, uint64 now_us)
{
	uint64		span_us = Min((RELEASE_BUCKETS - 1) * BUCKET_US + now_us % BUCKET_US,
							  now_us - releases->since_us);
	uint64		released = 0;
	double		seconds;

	releases_advance(releases, now_us);
	for (int i = 0; i < RELEASE_BUCKETS; i++)
		released += releases->released[i];
	if (released == 0)
		return 0;
	seconds = ceil((ahead + 1) * (span_us / 1e6) / released);
	return (int) Min(Max(seconds, RETRY_AFTER_MIN_S), RETRY_AFTER_MAX_S);
}
