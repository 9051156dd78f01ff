/*
 * recorder_file.c
 *		The recorder's file, as the monitor writes it.
 *
 * One write a second, at the end of a block; a new block takes the place of the oldest.
 * Nothing waits for the disk: what a process has written outlives the process, and the
 * kernel writes it back in its time.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xlog.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/memutils.h"

#include "observe/monitor/recorder_file.h"

#define FILE_BEFORE			RECORDER_FILE ".old"

#define PLACES_A_MB			(1024 * 1024 / RECORDER_BLOCK_SIZE)

/* Blocks that are moved at a time when the file is made smaller. */
#define MOVED_AT_A_TIME		4

static bool
failed(RecorderError *error, const char *what)
{
	error->what = what;
	error->code = errno != 0 ? errno : ENOSPC;	/* a write that was cut short */
	return false;
}

static bool
write_at(int fd, const void *bytes, Size length, off_t offset)
{
	errno = 0;
	return pwrite(fd, bytes, length, offset) == (ssize_t) length;
}

/* ---------- Opening ---------- */

/* Stands for this machine and this data directory. */
static uint64
host_here(void)
{
	char		name[MAXPGPATH + 256] = "";

	gethostname(name, 256);
	strlcat(name, ":", sizeof(name));
	strlcat(name, DataDir, sizeof(name));
	return hash_bytes_extended((const unsigned char *) name, (int) strlen(name), 0);
}

static bool
header_write(int fd)
{
	RecorderFileHeader header = {.system_identifier = GetSystemIdentifier(), .host = host_here()};

	file_header_seal(&header);
	return write_at(fd, &header, sizeof(header), 0);
}

/* Opens the file that is there, if it is ours; -1 if it is none. */
static int
open_ours(bool *moved)
{
	RecorderFileHeader header;
	int			fd = BasicOpenFilePerm(RECORDER_FILE, O_RDWR | PG_BINARY, S_IRUSR | S_IWUSR);

	if (fd < 0)
		return -1;
	if (!recorder_file_is_ours(fd, &header))
	{
		close(fd);
		errno = 0;
		return -1;
	}
	*moved = header.host != host_here();
	if (*moved)
		header_write(fd);
	return fd;
}

static int
open_new(void)
{
	int			fd = BasicOpenFilePerm(RECORDER_FILE, O_RDWR | O_CREAT | O_EXCL | PG_BINARY, S_IRUSR | S_IWUSR);

	if (fd >= 0 && !header_write(fd))
	{
		int			code = errno;

		close(fd);
		unlink(RECORDER_FILE);
		errno = code;
		return -1;
	}
	return fd;
}

/* Keeps the last one of those that are none of ours; false if it cannot be moved. */
static bool
put_aside(void)
{
	if (rename(RECORDER_FILE, FILE_BEFORE) != 0)
		return false;
	ereport(LOG,
			(errmsg("pool_exhaust records anew: file \"%s\" is of another server or version, or damaged", RECORDER_FILE),
			 errdetail("It is \"%s\" now.", FILE_BEFORE)));
	return true;
}

/* Finds the last second of the last block, and whether that block is calm so far. */
static void
find_end(RecorderFile *file)
{
	const RecordedBlock *last = NULL;
	BlockReader *reader = palloc(sizeof(BlockReader));
	uint8	   *bytes = palloc(RECORDER_BUFFER);

	for (int i = 0; i < file->n; i++)
		if (file->blocks[i].sequence != 0 && (last == NULL || file->blocks[i].sequence > last->sequence))
			last = &file->blocks[i];
	if (last != NULL && recorder_block_read(file->fd, last, bytes, reader))
	{
		file->place = last->place;
		file->sequence = last->sequence;
		while (block_next(reader))
		{
			file->state = reader->state;
			file->ill |= recorded_is_ill(&reader->state.second);
		}
		file->at = reader->at;
	}
	pfree(bytes);
	pfree(reader);
}

/* The first block says what the file is. */
int
recorder_places(int size_mb)
{
	return size_mb * PLACES_A_MB - 1;
}

bool
recorder_file_open(RecorderFile *file, int size_mb, RecorderError *error)
{
	RecordedBlock *blocks;

	memset(file, 0, sizeof(*file));
	file->fd = -1;
	if (mkdir(RECORDER_DIRECTORY, S_IRWXU) != 0 && errno != EEXIST)
		return failed(error, "could not create directory");
	file->fd = open_ours(&file->moved);
	if (file->fd < 0 && errno != 0 && errno != ENOENT)
		return failed(error, "could not open file");
	if (file->fd < 0 && errno == 0 && !put_aside())
		return failed(error, "could not rename file");
	if (file->fd < 0 && (file->fd = open_new()) < 0)
		return failed(error, "could not create file");

	blocks = recorder_blocks(file->fd, &file->n);
	file->nplaces = recorder_places(size_mb);
	file->room = Max(file->n, file->nplaces);
	file->blocks = MemoryContextAllocExtended(TopMemoryContext, sizeof(RecordedBlock) * file->room, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	memcpy(file->blocks, blocks, sizeof(RecordedBlock) * file->n);
	pfree(blocks);
	find_end(file);
	return true;
}

bool
recorder_file_is_there(const RecorderFile *file)
{
	struct stat here;
	struct stat there;

	return fstat(file->fd, &here) == 0 && stat(RECORDER_FILE, &there) == 0 &&
		here.st_ino == there.st_ino && here.st_dev == there.st_dev &&
		(file->sequence == 0 || here.st_size >= recorder_offset(file->place) + file->at);
}

void
recorder_file_close(RecorderFile *file)
{
	if (file->fd >= 0)
		close(file->fd);
	if (file->blocks != NULL)
		pfree(file->blocks);
	file->fd = -1;
	file->blocks = NULL;
}

/* ---------- Appending ---------- */

/* Returns the place among the first "n" with the oldest block, but for that one; -1: there is none. */
static int
place_oldest(const RecorderFile *file, int n, int but)
{
	int			oldest = -1;

	for (int i = 0; i < n; i++)
		if (i != but && (oldest < 0 || file->blocks[i].sequence < file->blocks[oldest].sequence))
			oldest = i;
	return oldest;
}

/* Where the next block goes: to the end of the file as long as it may grow. */
static int
place_next(const RecorderFile *file)
{
	return file->n < file->nplaces ? file->n : Max(place_oldest(file, file->nplaces, file->place), 0);
}

static void
block_began(RecorderFile *file, const RecorderBlockHeader *header, int place, int length)
{
	file->place = place;
	file->sequence = header->sequence;
	file->at = sizeof(*header) + length;
	file->ill = false;
	file->n = Max(file->n, place + 1);
	file->blocks[place] = (RecordedBlock) {place, header->sequence, header->began_at, (BlockHealth) header->before};
}

/* Begins a block with this second. */
static bool
append_block(RecorderFile *file, const RecordedSecond *second, int64 gap_ms, uint8 *bytes, RecorderError *error)
{
	RecorderBlockHeader header = {
		.sequence = file->sequence + 1,
		.began_at = second->from,
		.before = file->ill ? BLOCK_ILL : BLOCK_CALM,
	};
	int			place = place_next(file);
	int			length = block_frame(header.sequence, &file->state, second, gap_ms, true, bytes + sizeof(header), RECORDER_BLOCK_SIZE - sizeof(header));

	block_header_seal(&header);
	memcpy(bytes, &header, sizeof(header));
	if (length == 0 || !write_at(file->fd, bytes, sizeof(header) + length, recorder_offset(place)))
		return failed(error, "could not write to file");
	block_began(file, &header, place, length);
	return true;
}

/* Appends to the block that is written to; "fits" says whether there was room. */
static bool
append_frame(RecorderFile *file, const RecordedSecond *second, int64 gap_ms, uint8 *bytes, bool *fits, RecorderError *error)
{
	int			length = 0;

	if (file->sequence > 0 && file->place < file->nplaces)
		length = block_frame(file->sequence, &file->state, second, gap_ms, false, bytes, RECORDER_BLOCK_SIZE - file->at);
	*fits = length > 0;
	if (length > 0 && !write_at(file->fd, bytes, length, recorder_offset(file->place) + file->at))
		return failed(error, "could not write to file");
	file->at += length;
	return true;
}

/* What could not be written is forgotten, and the next second follows the last one that was. */
bool
recorder_file_append(RecorderFile *file, const RecordedSecond *second, int64 gap_ms, RecorderError *error)
{
	uint8	   *bytes = palloc(RECORDER_BLOCK_SIZE);
	FrameState *before = palloc(sizeof(FrameState));
	bool		fits;
	bool		done;

	*before = file->state;
	done = append_frame(file, second, gap_ms, bytes, &fits, error);
	if (done && !fits)
		done = append_block(file, second, gap_ms, bytes, error);
	if (done)
		file->ill |= recorded_is_ill(second);
	else
		file->state = *before;
	pfree(before);
	pfree(bytes);
	return done;
}

/* ---------- Made smaller ---------- */

/* Moves the newest of the blocks that have to go to the place of one that is older; false: there is none. */
static bool
move_newest(RecorderFile *file, uint8 *bytes)
{
	int			to = place_oldest(file, file->nplaces, file->place);
	int			from = file->nplaces;
	BlockReader reader;

	for (int i = from; i < file->n; i++)
		if (file->blocks[i].sequence > file->blocks[from].sequence)
			from = i;
	if (to < 0 || file->blocks[from].sequence <= file->blocks[to].sequence)
		return false;
	if (recorder_block_read(file->fd, &file->blocks[from], bytes, &reader) &&
		!write_at(file->fd, bytes, RECORDER_BLOCK_SIZE, recorder_offset(to)))
		return false;
	file->blocks[to] = file->blocks[from];
	file->blocks[to].place = to;
	file->blocks[from].sequence = 0;
	return true;
}

/* The newest blocks are kept; the block that is written to has left that part by then. */
void
recorder_file_shrink(RecorderFile *file)
{
	uint8	   *bytes;

	if (file->n <= file->nplaces || file->place >= file->nplaces)
		return;
	bytes = palloc(RECORDER_BUFFER);
	for (int i = 0; i < MOVED_AT_A_TIME; i++)
	{
		if (move_newest(file, bytes))
			continue;
		if (ftruncate(file->fd, recorder_offset(file->nplaces)) == 0)
			file->n = file->nplaces;
		break;
	}
	pfree(bytes);
}
