/*
 * file.h
 *		The recorder's file, as all readers see it: where it is, and which blocks
 *		are in it.
 *
 * The first block says what the file is.  The place of another is its number among
 * those after it, from 0 on; their order is that of their sequence numbers.
 */
#pragma once

#include "base/recorder/block.h"

/* In the data directory, which is the current directory of every process. */
#define RECORDER_DIRECTORY	"pool_exhaust"
#define RECORDER_FILE		RECORDER_DIRECTORY "/recorder"

/* What a block says of itself. */
typedef struct RecordedBlock
{
	int			place;
	uint64		sequence;		/* 0: there is none at this place */
	TimestampTz began_at;
	BlockHealth before;			/* of the block before it */
} RecordedBlock;

extern off_t recorder_offset(int place);

/* Is that a file of this server, of this version?  The header stands in "header" if so. */
extern bool recorder_file_is_ours(int fd, RecorderFileHeader *header);

/* Returns what is at each place, palloc'd; "n" is how many there are. */
extern RecordedBlock *recorder_blocks(int fd, int *n);

/* Reads a block; "bytes" has RECORDER_BUFFER.  False if there is none, or another one by now. */
#define RECORDER_BUFFER	(RECORDER_BLOCK_SIZE + BITS_SLACK)
extern bool recorder_block_read(int fd, const RecordedBlock *block, uint8 *bytes, BlockReader *reader);
