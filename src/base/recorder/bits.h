/*
 * bits.h
 *		Numbers as bits: a number that is small takes few of them.
 *
 * A number n is written as n + 1 in binary, with as many zeros before it as it has
 * bits less one: 0 is one bit, 1 and 2 are three.  Zero, what does not change, is what
 * there is most of.  Readers take bytes from anywhere: they never read behind the end,
 * and say when they would have had to.
 */
#pragma once

#include "port/pg_bitutils.h"
#include "port/pg_bswap.h"

/* A reader may look at so many bytes behind the end; they are the caller's, and count for nothing. */
#define BITS_SLACK	8

/* No number has more bits. */
#define BITS_NUMBER_MAX	56

typedef struct BitWriter
{
	uint8	   *data;			/* zeros, before it is written to */
	uint32		size;			/* in bits */
	uint32		at;
	bool		full;			/* something did not fit */
} BitWriter;

typedef struct BitReader
{
	const uint8 *data;
	uint32		size;			/* in bits */
	uint32		at;
	bool		broken;			/* it ended too early, or had a number that is none */
} BitReader;

extern void bits_put(BitWriter *out, uint64 value, int nbits);
extern void bits_put_number(BitWriter *out, uint64 value);
extern void bits_put_signed(BitWriter *out, int64 value);

/* The next 57 bits at least, from the highest bit on. */
static inline uint64
bits_ahead(const BitReader *in)
{
	uint64		bytes;

	memcpy(&bytes, in->data + in->at / 8, sizeof(bytes));
	return pg_ntoh64(bytes) << in->at % 8;
}

/* Moves on; false if that is behind the end. */
static inline bool
bits_skip(BitReader *in, int nbits)
{
	in->at += nbits;
	if (likely(in->at <= in->size))
		return true;
	in->broken = true;
	in->at = in->size;
	return false;
}

/* Returns 1 to BITS_NUMBER_MAX bits as a number; 0 behind the end. */
static inline uint64
bits_get(BitReader *in, int nbits)
{
	uint64		value = bits_ahead(in) >> (64 - nbits);

	return bits_skip(in, nbits) ? value : 0;
}

static inline bool
bits_get_flag(BitReader *in)
{
	return bits_get(in, 1) != 0;
}

/* Returns a number; 0 if there is none. */
static inline uint64
bits_get_number(BitReader *in)
{
	uint64		ahead = bits_ahead(in);
	uint64		plus_one;
	int			zeros = ahead == 0 ? 64 : 63 - pg_leftmost_one_pos64(ahead);
	int			nbits = 2 * zeros + 1;

	if (likely(nbits <= BITS_NUMBER_MAX))
		return bits_skip(in, nbits) ? (ahead >> (64 - nbits)) - 1 : 0;
	if (zeros >= BITS_NUMBER_MAX || !bits_skip(in, zeros))
	{
		in->broken = true;
		return 0;
	}
	plus_one = bits_get(in, zeros + 1);
	return plus_one > 0 ? plus_one - 1 : 0;
}

/* What a number stands for that may be negative. */
static inline int64
bits_signed(uint64 number)
{
	return (int64) (number >> 1) ^ -(int64) (number & 1);
}

static inline int64
bits_get_signed(BitReader *in)
{
	return bits_signed(bits_get_number(in));
}

/*
 * Numbers one after the other, which the reader is behind as long as they are in the bits
 * ahead: for what there is most of.
 */
typedef struct BitWindow
{
	uint64		ahead;
	int			used;			/* bits of the reader's that were taken */
} BitWindow;

#define BITS_AHEAD	57

static inline BitWindow
window_open(const BitReader *in)
{
	return (BitWindow) {bits_ahead(in), 0};
}

/* The reader catches up. */
static inline void
window_close(BitReader *in, const BitWindow *window)
{
	bits_skip(in, window->used);
}

static inline bool
window_get_flag(BitReader *in, BitWindow *window)
{
	bool		flag;

	if (unlikely(window->used == BITS_AHEAD))
	{
		window_close(in, window);
		*window = window_open(in);
	}
	flag = window->ahead >> 63 != 0;
	window->ahead <<= 1;
	window->used++;
	return flag;
}

static inline uint64
window_get_number(BitReader *in, BitWindow *window)
{
	int			zeros = 63 - pg_leftmost_one_pos64(window->ahead | 1);
	int			nbits = 2 * zeros + 1;
	uint64		number;

	if (likely(window->used + nbits <= BITS_AHEAD))
	{
		number = (window->ahead >> (64 - nbits)) - 1;
		window->ahead <<= nbits;
		window->used += nbits;
		return number;
	}
	window_close(in, window);
	number = bits_get_number(in);
	*window = window_open(in);
	return number;
}
