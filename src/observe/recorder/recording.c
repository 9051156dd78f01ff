/*
 * recording.c
 *		What the flight recorder has kept: second after second, in their order.
 */
#include "postgres.h"

#include <fcntl.h>

#include "storage/fd.h"
#include "utils/timestamp.h"

#include "observe/recorder/file.h"
#include "observe/recorder/recording.h"

/* Frames and spans are in milliseconds; what is closer than that was recorded without a pause. */
#define GAP_US_MIN		(10 * INT64CONST(1000))

struct Recording
{
	int			fd;				/* -1: there is no file */
	RecordingPart part;
	RecordedBlock *blocks;		/* those to be read, in their order */
	int			nblocks;
	int			next;
	bool		cut;
	uint64		last;			/* sequence of the block that was read last; 0: none was */
	TimestampTz last_to;		/* the end of the last second; 0: there was none */
	bool		in_block;
	bool		pending;		/* the second of the reader is still to be returned */
	BlockReader reader;
	RecordedSecond between;		/* a gap, or what was left out */
	uint8		bytes[RECORDER_BUFFER];
};

static int
compare_blocks(const void *a, const void *b)
{
	uint64		x = ((const RecordedBlock *) a)->sequence;
	uint64		y = ((const RecordedBlock *) b)->sequence;

	return (x > y) - (x < y);
}

/* Puts those that there are in their order, each of them once: while the file shrinks, a block can be there twice. */
static void
blocks_sort(Recording *recording)
{
	RecordedBlock *blocks = recording->blocks;
	int			n = 0;

	qsort(blocks, recording->nblocks, sizeof(RecordedBlock), compare_blocks);
	for (int i = 0; i < recording->nblocks; i++)
		if (blocks[i].sequence != 0 && (n == 0 || blocks[n - 1].sequence != blocks[i].sequence))
			blocks[n++] = blocks[i];
	recording->nblocks = n;
}

/* What is known of a block without reading it: the next one says it. */
static BlockHealth
block_health(const Recording *recording, int i)
{
	const RecordedBlock *block = &recording->blocks[i];

	if (i + 1 < recording->nblocks && block[1].sequence == block->sequence + 1)
		return block[1].before;
	return BLOCK_UNKNOWN;
}

/* Can it have seconds of that time?  Where the clock was set back, a block may end before it begins. */
static bool
block_is_in(const Recording *recording, int i, TimestampTz from, TimestampTz to)
{
	TimestampTz begin = recording->blocks[i].began_at;
	TimestampTz end = i + 1 < recording->nblocks ? recording->blocks[i + 1].began_at : DT_NOEND;

	return end < begin || (begin <= to && end >= from);
}

/* Keeps the blocks that are asked for, from the last one back to the first. */
static void
blocks_pick(Recording *recording, TimestampTz from, TimestampTz to, RecordingPart part, int most)
{
	RecordedBlock *blocks = recording->blocks;
	int			first = recording->nblocks;
	TimestampTz wanted = DT_NOEND;	/* also healthy blocks that end after this */

	for (int i = recording->nblocks - 1; i >= 0; i--)
	{
		BlockHealth health = block_health(recording, i);
		TimestampTz end = i + 1 < recording->nblocks ? blocks[i + 1].began_at : DT_NOEND;
		bool		picked = block_is_in(recording, i, from, to);

		if (picked && part == RECORDING_ILL && health == BLOCK_CALM)
			picked = end > wanted;
		else if (picked)
			wanted = blocks[i].began_at - RECORDING_LOOKBACK_US;
		if (!picked)
			blocks[i].sequence = 0;
		else if (recording->nblocks - first >= most)
		{
			recording->cut = true;
			blocks[i].sequence = 0;
		}
		else
			first--;
	}
	blocks_sort(recording);
}

Recording *
recording_open(TimestampTz from, TimestampTz to, RecordingPart part, int most)
{
	Recording  *recording = palloc0(sizeof(Recording));
	RecorderFileHeader header;

	recording->part = part;
	recording->fd = OpenTransientFile(RECORDER_FILE, O_RDONLY | PG_BINARY);
	if (recording->fd < 0 || !recorder_file_is_ours(recording->fd, &header))
		return recording;
	recording->blocks = recorder_blocks(recording->fd, &recording->nblocks);
	blocks_sort(recording);
	blocks_pick(recording, from, to, part, most);
	return recording;
}

/* Reads the next block that can be read; false: there is none. */
static bool
block_begin(Recording *recording)
{
	while (recording->next < recording->nblocks)
	{
		const RecordedBlock *block = &recording->blocks[recording->next++];

		if (recorder_block_read(recording->fd, block, recording->bytes, &recording->reader))
			return true;
	}
	return false;
}

/* Reads the next second into the reader; "skipped": blocks were left out before it. */
static bool
second_read(Recording *recording, bool *skipped)
{
	*skipped = false;
	for (;;)
	{
		if (recording->in_block && block_next(&recording->reader))
			return true;
		if (!block_begin(recording))
			return false;
		recording->in_block = true;
		*skipped |= recording->last != 0 && recording->reader.sequence != recording->last + 1;
		recording->last = recording->reader.sequence;
	}
}

/* What is between two seconds, NULL if that is nothing. */
static const RecordedSecond *
between(Recording *recording, const FrameState *state, bool skipped)
{
	TimestampTz to = state->second.from;
	TimestampTz from = skipped ? recording->last_to : to - state->gap_ms * 1000;
	RecordedSecond *gap = &recording->between;

	if (recording->last_to == 0 || to - from <= GAP_US_MIN || (!skipped && state->gap_ms == 0))
		return NULL;
	memset(gap, 0, sizeof(*gap));
	gap->kind = skipped && state->gap_ms == 0 && recording->part == RECORDING_ILL ? RECORDED_CALM : RECORDED_GAP;
	gap->from = from;
	gap->to = to;
	return gap;
}

const RecordedSecond *
recording_next(Recording *recording)
{
	const RecordedSecond *second = &recording->reader.state.second;
	const RecordedSecond *gap;
	bool		skipped;

	if (recording->nblocks == 0)
		return NULL;
	if (!recording->pending)
	{
		if (!second_read(recording, &skipped))
			return NULL;
		gap = between(recording, &recording->reader.state, skipped);
		recording->last_to = second->to;
		recording->pending = gap != NULL;
		if (gap != NULL)
			return gap;
	}
	recording->pending = false;
	return second;
}

bool
recording_is_cut(const Recording *recording)
{
	return recording->cut;
}

void
recording_close(Recording *recording)
{
	if (recording->fd >= 0)
		CloseTransientFile(recording->fd);
	if (recording->blocks != NULL)
		pfree(recording->blocks);
	pfree(recording);
}
