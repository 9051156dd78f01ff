/*
 * releases.h
 *		How fast a pool's connections come back, and so when to try again.
 */
#pragma once

/* Releases are remembered for that long, in buckets of equal length. */
#define RELEASES_US			(60 * INT64CONST(1000000))
#define RELEASE_BUCKETS		12

typedef struct Releases
{
	uint64		since_us;		/* counted since, monotonic */
	uint64		bucket;			/* number of the newest bucket */
	uint32		released[RELEASE_BUCKETS];
} Releases;

extern void releases_begin(Releases *releases, uint64 now_us);
extern void releases_add(Releases *releases, int n, uint64 now_us);
extern int	releases_retry_after_s(Releases *releases, int ahead, uint64 now_us);
