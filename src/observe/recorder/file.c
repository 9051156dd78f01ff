/*
 * file.c
 *		The recorder's file, as all readers see it.
 */
#include "postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include "access/xlog.h"

#include "observe/recorder/file.h"

off_t
recorder_offset(int place)
{
	return (off_t) (place + 1) * RECORDER_BLOCK_SIZE;
}

bool
recorder_file_is_ours(int fd, RecorderFileHeader *header)
{
	return pread(fd, header, sizeof(*header), 0) == sizeof(*header) && file_header_is_valid(header) &&
		header->system_identifier == GetSystemIdentifier();
}

RecordedBlock *
recorder_blocks(int fd, int *n)
{
	RecordedBlock *blocks;
	struct stat file;

	*n = fstat(fd, &file) == 0 ? (int) Max((file.st_size + RECORDER_BLOCK_SIZE - 1) / RECORDER_BLOCK_SIZE - 1, 0) : 0;
	blocks = palloc_extended(sizeof(RecordedBlock) * (*n + 1), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < *n; i++)
	{
		RecorderBlockHeader header;

		blocks[i].place = i;
		if (pread(fd, &header, sizeof(header), recorder_offset(i)) != sizeof(header) || !block_header_is_valid(&header))
			continue;
		blocks[i].sequence = header.sequence;
		blocks[i].began_at = header.began_at;
		blocks[i].before = (BlockHealth) Min(header.before, BLOCK_ILL);
	}
	return blocks;
}

/* The last block of the file may be shorter than the others. */
bool
recorder_block_read(int fd, const RecordedBlock *block, uint8 *bytes, BlockReader *reader)
{
	ssize_t		length = pread(fd, bytes, RECORDER_BLOCK_SIZE, recorder_offset(block->place));

	if (length < (ssize_t) sizeof(RecorderBlockHeader))
		return false;
	memset(bytes + length, 0, RECORDER_BUFFER - length);
	return block_open(reader, bytes, block->sequence);
}
