/*
 * bits.c
 *		Numbers as bits: the writer.
 */
#include "postgres.h"

#include "base/recorder/bits.h"

/* Appends the lowest bits of the value. */
void
bits_put(BitWriter *out, uint64 value, int nbits)
{
	if (out->full || nbits > out->size - out->at)
	{
		out->full = true;
		return;
	}
	while (nbits > 0)
	{
		int			room = 8 - out->at % 8;
		int			n = Min(room, nbits);
		uint8		bits = (value >> (nbits - n)) & ((1 << n) - 1);

		out->data[out->at / 8] |= bits << (room - n);
		out->at += n;
		nbits -= n;
	}
}

/* Appends a number; one that is too large becomes the largest there is. */
void
bits_put_number(BitWriter *out, uint64 value)
{
	uint64		plus_one = Min(value, (UINT64CONST(1) << (BITS_NUMBER_MAX - 1)) - 2) + 1;
	int			zeros = pg_leftmost_one_pos64(plus_one);

	bits_put(out, 0, zeros);
	bits_put(out, plus_one, zeros + 1);
}

void
bits_put_signed(BitWriter *out, int64 value)
{
	bits_put_number(out, ((uint64) value << 1) ^ (uint64) (value >> 63));
}
