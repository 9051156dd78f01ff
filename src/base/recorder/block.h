/*
 * block.h
 *		Frames one after the other: a block of the recorder's file.
 *
 * A file is a block that says what it is, and blocks that are a ring.  Each of these can
 * be read by itself: a header, and frames, the first of which is a key frame.  A frame
 * has its length and a checksum, into which the number of the block goes: so what was
 * left of the last time around is no frame, and one that was not written to its end
 * neither.  Numbers are in the byte order of the machine.
 */
#pragma once

#include "base/recorder/bits.h"
#include "base/recorder/frame.h"

#define RECORDER_VERSION	2
#define RECORDER_BLOCK_SIZE (64 * 1024)

/* The first block of a file has this, and nothing else. */
typedef struct RecorderFileHeader
{
	uint32		magic;
	uint32		crc;			/* of what follows */
	uint32		version;
	uint32		block_size;
	uint64		system_identifier;
	uint64		host;			/* stands for the machine and the data directory of the last writer */
} RecorderFileHeader;

/* What is known of a block before it is read. */
typedef enum BlockHealth
{
	BLOCK_UNKNOWN,
	BLOCK_CALM,					/* no second of it is part of an incident */
	BLOCK_ILL
} BlockHealth;

typedef struct RecorderBlockHeader
{
	uint32		magic;
	uint32		crc;			/* of what follows */
	uint64		sequence;		/* from 1 on; 0: there is no block */
	TimestampTz began_at;
	uint32		before;			/* a BlockHealth: of the block with the sequence before this */
	uint32		unused;
} RecorderBlockHeader;

/* Bytes beside a frame. */
#define FRAME_OVERHEAD	(2 * sizeof(uint32))

extern void file_header_seal(RecorderFileHeader *header);
extern bool file_header_is_valid(const RecorderFileHeader *header);
extern void block_header_seal(RecorderBlockHeader *header);
extern bool block_header_is_valid(const RecorderBlockHeader *header);

/*
 * Writes a frame as it stands in a block; its length with the overhead, or 0: it does
 * not fit.  Otherwise as frame_encode().
 */
extern int	block_frame(uint64 sequence, FrameState *state, const RecordedSecond *second, int64 gap_ms, bool key,
						uint8 *bytes, int size);

/* Reads a block, RECORDER_BLOCK_SIZE bytes, and BITS_SLACK behind it. */
typedef struct BlockReader
{
	const uint8 *bytes;
	uint32		at;				/* where the next frame would be */
	uint64		sequence;
	FrameState	state;			/* after the last frame */
} BlockReader;

/* False if that is no block, or not the one with this number; 0: any. */
extern bool block_open(BlockReader *reader, const uint8 *bytes, uint64 sequence);

/* Reads the next frame; false at the end of what is valid. */
extern bool block_next(BlockReader *reader);
