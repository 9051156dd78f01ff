/*
 * frame.h
 *		A second as bytes: a frame.
 *
 * A key frame is complete; any other one has what differs from the frame before it.
 * Bytes may come from anywhere: frame_decode() takes what is well-formed, reads nothing
 * else, and needs no memory but the caller's.
 */
#pragma once

#include "base/recorder/record.h"

/* No frame is longer.  All places taken by the longest names: 64 * 140 + 64 * 80 bytes. */
#define FRAME_MAX	(24 * 1024)

/* What a frame is decoded, or encoded, after. */
typedef struct FrameState
{
	bool		keyed;			/* there was a frame before */
	uint64		at_ms;			/* its end, since the year 2000 */
	int64		step_ms;		/* from the end of the one before it to its own */
	int64		gap_ms;			/* before it, in which nothing was measured */
	int			causes;			/* members that the lists had when it was written */
	int			states;
	int			rules;
	RecordedSecond second;
} FrameState;

/*
 * Writes a frame of at most "size" bytes, which need not be zero, and makes it the
 * state; returns its length, or 0 if it does not fit, and then leaves the state as it
 * is.  A key frame, if "key" says so or there was none before.
 */
extern int	frame_encode(FrameState *state, const RecordedSecond *second, int64 gap_ms, bool key, uint8 *bytes, int size);

/*
 * Takes a frame into the state; false if it is none, and the state then means nothing.
 * BITS_SLACK bytes behind it must be readable.
 */
extern bool frame_decode(FrameState *state, const uint8 *bytes, int length);
