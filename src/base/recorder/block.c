/*
 * block.c
 *		Frames one after the other: a block of the recorder's file.
 */
#include "postgres.h"

#include "port/pg_crc32c.h"

#include "base/recorder/block.h"

#define FILE_MAGIC		0x50784652	/* also says whether the byte order is ours */
#define BLOCK_MAGIC		0x50784b42

/* The checksum of a header: of all that follows it. */
static uint32
header_crc(const void *header, Size size)
{
	Size		first = 2 * sizeof(uint32);
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, (const char *) header + first, size - first);
	FIN_CRC32C(crc);
	return crc;
}

void
file_header_seal(RecorderFileHeader *header)
{
	header->magic = FILE_MAGIC;
	header->version = RECORDER_VERSION;
	header->block_size = RECORDER_BLOCK_SIZE;
	header->crc = header_crc(header, sizeof(*header));
}

bool
file_header_is_valid(const RecorderFileHeader *header)
{
	return header->magic == FILE_MAGIC && header->crc == header_crc(header, sizeof(*header)) &&
		header->version == RECORDER_VERSION && header->block_size == RECORDER_BLOCK_SIZE;
}

void
block_header_seal(RecorderBlockHeader *header)
{
	header->magic = BLOCK_MAGIC;
	header->crc = header_crc(header, sizeof(*header));
}

bool
block_header_is_valid(const RecorderBlockHeader *header)
{
	return header->magic == BLOCK_MAGIC && header->crc == header_crc(header, sizeof(*header)) && header->sequence > 0;
}

static uint32
frame_crc(uint64 sequence, uint32 length, const uint8 *frame)
{
	pg_crc32c	crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, &sequence, sizeof(sequence));
	COMP_CRC32C(crc, &length, sizeof(length));
	COMP_CRC32C(crc, frame, length);
	FIN_CRC32C(crc);
	return crc;
}

int
block_frame(uint64 sequence, FrameState *state, const RecordedSecond *second, int64 gap_ms, bool key, uint8 *bytes, int size)
{
	uint32		head[2];
	int			room = Min(size - (int) FRAME_OVERHEAD, FRAME_MAX);
	int			length = room > 0 ? frame_encode(state, second, gap_ms, key, bytes + FRAME_OVERHEAD, room) : 0;

	if (length == 0)
		return 0;
	head[0] = (uint32) length;
	head[1] = frame_crc(sequence, head[0], bytes + FRAME_OVERHEAD);
	memcpy(bytes, head, sizeof(head));
	return length + (int) FRAME_OVERHEAD;
}

bool
block_open(BlockReader *reader, const uint8 *bytes, uint64 sequence)
{
	RecorderBlockHeader header;

	memcpy(&header, bytes, sizeof(header));
	memset(reader, 0, sizeof(*reader));
	reader->bytes = bytes;
	reader->at = sizeof(header);
	reader->sequence = header.sequence;
	return block_header_is_valid(&header) && (sequence == 0 || sequence == header.sequence);
}

bool
block_next(BlockReader *reader)
{
	const uint8 *frame = reader->bytes + reader->at;
	uint32		head[2];

	if (reader->at + FRAME_OVERHEAD > RECORDER_BLOCK_SIZE)
		return false;
	memcpy(head, frame, sizeof(head));
	if (head[0] == 0 || head[0] > Min(FRAME_MAX, RECORDER_BLOCK_SIZE - reader->at - FRAME_OVERHEAD) ||
		head[1] != frame_crc(reader->sequence, head[0], frame + FRAME_OVERHEAD) ||
		!frame_decode(&reader->state, frame + FRAME_OVERHEAD, (int) head[0]))
		return false;
	reader->at += FRAME_OVERHEAD + head[0];
	return true;
}
