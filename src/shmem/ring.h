/*
 * ring.h
 *		Reads the rings of shared memory: the heal log, the health log, the timeline.
 *
 * Entry n stands at place n % length.  "written" counts all that were ever
 * written, so a reader that has "seen" as many knows what is new.
 */
#pragma once

/* Returns the number of the first entry from "seen" on that the ring still has. */
extern uint64 ring_first(uint64 written, int length, uint64 seen);

/* Returns how many were ever written.  Takes observe_lock. */
extern uint64 ring_written(const uint64 *written);

/*
 * Copies that entry, of "size" bytes, to "entry" and moves "seen" behind it;
 * false if there is none.  Takes observe_lock, which guards these rings.
 */
extern bool ring_read(const void *entries, Size size, int length, const uint64 *written,
					  uint64 *seen, void *entry);
