/*
 * recording.c
 *		Makes a file of the flight recorder of seconds that are told it: for tests of what
 *		follows from a long time.
 *
 *	recording SYSTEM_IDENTIFIER FILE BLOCKS < SECONDS
 *
 * A line a second: when it begins, in milliseconds since 2000, and how long it is; logins
 * let in; refused for want of a slot, by limits of roles, and while the server accepted
 * none; and the run on target server, or 0.  Time between two of them is a gap.
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/recorder/block.h"

static int	fd;
static int	blocks;
static uint64 sequence;			/* of the block that is written */
static int	at;					/* the end of what is in it */
static FrameState state;

static void
put(const void *bytes, int size, off_t offset)
{
	if (pwrite(fd, bytes, size, offset) != size)
	{
		perror("could not write");
		exit(1);
	}
}

/* Where the block that is written begins: the first one is the file's own. */
static off_t
block_offset(void)
{
	return (off_t) (1 + (sequence - 1) % blocks) * RECORDER_BLOCK_SIZE;
}

static void
block_start(const RecordedSecond *second)
{
	RecorderBlockHeader header = {.sequence = ++sequence, .began_at = second->from};

	block_header_seal(&header);
	put(&header, sizeof(header), block_offset());
	at = sizeof(header);
}

static void
second_put(const RecordedSecond *second, int64 gap_ms)
{
	static uint8 bytes[FRAME_MAX + FRAME_OVERHEAD];
	bool		first = sequence == 0;
	int			length = 0;

	if (!first)
		length = block_frame(sequence, &state, second, gap_ms, false, bytes, Min((int) sizeof(bytes), RECORDER_BLOCK_SIZE - at));
	if (length == 0)
	{
		block_start(second);
		length = block_frame(sequence, &state, second, gap_ms, true, bytes, sizeof(bytes));
	}
	put(bytes, length, block_offset() + at);
	at += length;
}

int
main(int argc, char **argv)
{
	static RecordedSecond second;
	RecorderFileHeader header = {0};
	long long	from,
				length,
				run;
	unsigned	let_in,
				slots,
				limited,
				not_accepting;
	TimestampTz before = 0;

	if (argc != 4 || (blocks = atoi(argv[3])) < 1 || (fd = open(argv[2], O_RDWR | O_CREAT | O_TRUNC, 0600)) < 0)
	{
		fprintf(stderr, "usage: recording SYSTEM_IDENTIFIER FILE BLOCKS < SECONDS\n");
		return 1;
	}
	header.system_identifier = strtoull(argv[1], NULL, 10);
	file_header_seal(&header);
	put(&header, sizeof(header), 0);
	while (scanf("%lld %lld %u %u %u %u %lld", &from, &length, &let_in, &slots, &limited, &not_accepting, &run) == 7)
	{
		second.from = from * 1000;
		second.to = second.from + length * 1000;
		second.capacity = 97;
		second.slots = 100;
		second.opened = let_in;
		second.refused[CAUSE_RESERVED_SLOTS] = slots;
		second.refused[CAUSE_ROLE_LIMIT] = limited;
		second.refused[CAUSE_NOT_ACCEPTING] = not_accepting;
		second.run_id = run;
		second_put(&second, before == 0 ? 0 : Max(second.from - before, 0) / 1000);
		before = second.to;
	}
	return 0;
}
