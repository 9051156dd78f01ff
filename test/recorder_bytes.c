/*
 * recorder_bytes.c
 *		The recorder's bytes, without a server: proved, or made into a file.
 *
 *	recorder_bytes prove ROUNDS SEED	what is encoded is decoded, and whatever else is
 *		decoded does no harm: blocks that are cut, with bits turned, with noise, with parts of
 *		others in them, with and without a checksum that is right
 *	recorder_bytes file FILE SECONDS SYSTEM_IDENTIFIER UNTIL	a file as a busy server has it:
 *		1,000 sessions of 40 services, 200 logins a second, an incident each hour; its last
 *		second ends at UNTIL, in seconds since 1970
 *	recorder_bytes read FILE	the same is read; prints how many seconds that are, and how long
 *		it took, in milliseconds
 *	recorder_bytes seconds FILE SYSTEM_IDENTIFIER	a file of seconds that it reads, a line
 *		each: when it begins, in milliseconds since 2000, and how long it is; logins let in;
 *		refused for want of a slot, by limits of roles, and while the server accepted none;
 *		and the run on target server, or 0
 *
 * To be linked with the files of src/base/recorder/ and libpgport.
 */
#include "postgres.h"

#include <time.h>

#include "base/recorder/block.h"
#include "port/pg_crc32c.h"

#define SERVICES	40
#define CAPACITY	1200

static uint64 seed;

static uint32
chance(uint32 n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32) (seed >> 11) % n;
}

static void
fail(const char *what)
{
	printf("not ok: %s\n", what);
	exit(1);
}

/* ---------- Seconds ---------- */

static void
service_move(RecordedService *service, int sessions)
{
	service->by_state[SLOT_ACTIVE] = (int) chance(4) + sessions / 8;
	service->by_state[SLOT_IDLE_IN_TRANSACTION] = (int) chance(3);
	service->by_state[SLOT_IDLE] = Max(sessions - service->by_state[SLOT_ACTIVE] - service->by_state[SLOT_IDLE_IN_TRANSACTION], 0);
	service->opened = chance(11);
}

/* The next second of a busy server; "full": the server refuses logins. */
static void
second_move(RecordedSecond *second, int number, bool full)
{
	second->nservices = SERVICES;
	second->from = second->to;
	second->to += (1000 + chance(5)) * 1000;
	second->slots = CAPACITY + 3;
	second->capacity = CAPACITY;
	second->health = full ? HEALTH_EXHAUSTED : HEALTH_HEALTHY;
	memset(second->by_state, 0, sizeof(second->by_state));
	memset(second->refused, 0, sizeof(second->refused));
	second->opened = 0;
	for (int i = 0; i < SERVICES; i++)
	{
		RecordedService *service = &second->services[i];

		if (!service->taken)
		{
			service->taken = true;
			service->number = i + 1;
			service->role = 16384 + i;
			snprintf(service->usename, NAMEDATALEN, "role_%d", i % 8);
			snprintf(service->application_name, NAMEDATALEN, "application-%d", i);
		}
		service_move(service, full && i == 7 ? 225 : 25);
		for (int state = 0; state < SLOT_STATES; state++)
			second->by_state[state] += service->by_state[state];
		second->opened += service->opened;
	}
	second->by_state[SLOT_AUTHENTICATING] = chance(3);
	second->closed = second->opened / 2 + chance(4);
	if (full)
		second->refused[CAUSE_RESERVED_SLOTS] = second->services[3].refused = chance(20);
	else
		second->services[3].refused = 0;
	second->nevents = number % 1000 == 0;
	second->events[0] = (RecordedEvent) {EVENT_HEALED, 7, LEAK_NONE + 1, 4711};
}

/* Any second at all */
static void
second_at_random(RecordedSecond *second)
{
	static uint32 numbers;

	memset(second->services, 0, sizeof(second->services));
	second->nservices = chance(RECORDED_SERVICES_MAX + 1);
	for (int i = 0; i <= RECORDED_OTHERS; i++)
	{
		RecordedService *service = &second->services[i];

		if (i != RECORDED_OTHERS && i >= second->nservices)
			continue;
		service->taken = chance(5) > 0;
		if (!service->taken)
			continue;
		service->number = ++numbers;	/* of one number there is one service */
		service->role = chance(2) ? PG_UINT32_MAX - chance(9) : 0;
		memset(service->usename, 'a' + chance(26), chance(NAMEDATALEN));
		memset(service->application_name, ' ' + chance(95), chance(NAMEDATALEN));
		for (int state = SLOT_AUTHENTICATING + 1; state < SLOT_STATES; state++)
			service->by_state[state] = chance(chance(2) ? 3 : 100000);
		service->opened = chance(2) ? 0 : chance(1000000);
		service->refused = chance(2) ? 0 : chance(1000000);
	}
	for (int i = 0; i < SLOT_STATES; i++)
		second->by_state[i] = chance(1000);
	for (int i = 0; i < LEDGER_CAUSES; i++)
		second->refused[i] = chance(3) ? 0 : chance(100000);
	for (int i = 0; i < LEAK_RULES; i++)
		second->suspects[i] = chance(4);
	second->run_id = chance(3) ? 0 : chance(1000000);
	second->npools = chance(RECORDED_POOLS_MAX + 1);
	for (int i = 0; i < second->npools; i++)
	{
		second->pools[i] = (RecordedPool) {.kind = chance(4), .oid = chance(100000), .capacity = chance(100), .in_use = chance(100), .health = chance(HEALTHS)};
		memset(second->pools[i].name, 'p', chance(NAMEDATALEN));
	}
	second->nborrowers = chance(RECORDED_BORROWERS_MAX + 1);
	for (int i = 0; i < second->nborrowers; i++)
	{
		second->borrowers[i] = (RecordedBorrower) {.place = chance(RECORDED_OTHERS + 1), .sessions = chance(100000)};
		memset(second->borrowers[i].name, ' ' + chance(95), chance(BORROWER_LEN));
	}
	second->nevents = chance(RECORDED_EVENTS_MAX + 1);
	for (int i = 0; i < second->nevents; i++)
		second->events[i] = (RecordedEvent) {chance(RECORDED_EVENT_TYPES), (int) chance(RECORDED_OTHERS + 1) - 1, (int64) chance(1000) - 500, (int64) chance(PG_INT32_MAX) << 20};
	second->from = second->to + chance(100) * 1000;
	if (chance(20) == 0)
		second->from -= second->from / 2000 * 1000; /* the clock was set back */
	second->to = second->from + chance(100000) * INT64CONST(1000);
}

static bool
services_are_same(const RecordedSecond *a, const RecordedSecond *b)
{
	for (int i = 0; i <= RECORDED_OTHERS; i++)
		if (a->services[i].taken && memcmp(&a->services[i], &b->services[i], sizeof(RecordedService)) != 0)
			return false;
	return true;
}

static bool
seconds_are_same(const RecordedSecond *a, const RecordedSecond *b)
{
	return a->from == b->from && a->to == b->to && memcmp(a->by_state, b->by_state, sizeof(a->by_state)) == 0 &&
		a->capacity == b->capacity && a->slots == b->slots && a->health == b->health && a->run_id == b->run_id &&
		a->opened == b->opened && a->closed == b->closed && memcmp(a->refused, b->refused, sizeof(a->refused)) == 0 &&
		memcmp(a->suspects, b->suspects, sizeof(a->suspects)) == 0 && services_are_same(a, b) &&
		a->npools == b->npools && memcmp(a->pools, b->pools, sizeof(RecordedPool) * a->npools) == 0 &&
		a->nborrowers == b->nborrowers && memcmp(a->borrowers, b->borrowers, sizeof(RecordedBorrower) * a->nborrowers) == 0 &&
		a->nevents == b->nevents && memcmp(a->events, b->events, sizeof(RecordedEvent) * a->nevents) == 0;
}

/* ---------- Proved ---------- */

#define BLOCKS		4
#define PER_BLOCK	200

static uint8 blocks[BLOCKS][RECORDER_BLOCK_SIZE + BITS_SLACK];
static RecordedSecond written[BLOCKS][PER_BLOCK];
static int	nwritten[BLOCKS];
static uint32 frames_at[BLOCKS][PER_BLOCK + 1];

static void
block_make(int n)
{
	RecorderBlockHeader header = {.sequence = n + 1, .began_at = 0};
	FrameState *state = calloc(1, sizeof(FrameState));
	static RecordedSecond second;
	uint32		at = sizeof(header);

	block_header_seal(&header);
	memset(blocks[n], (int) chance(256), sizeof(blocks[n]));
	memcpy(blocks[n], &header, sizeof(header));
	for (nwritten[n] = 0; nwritten[n] < PER_BLOCK; nwritten[n]++)
	{
		int			length;

		if (n % 2 == 0)
			second_move(&second, nwritten[n] + 1, nwritten[n] > 100);
		else
			second_at_random(&second);
		length = block_frame(header.sequence, state, &second, 0, nwritten[n] == 0 || chance(50) == 0, blocks[n] + at, (int) (RECORDER_BLOCK_SIZE - at));
		if (length == 0)
			break;
		written[n][nwritten[n]] = second;
		frames_at[n][nwritten[n]] = at;
		at += length;
		/* Nothing behind it may look like a frame. */
		memset(blocks[n] + at, 0, Min(FRAME_OVERHEAD, RECORDER_BLOCK_SIZE - at));
	}
	frames_at[n][nwritten[n]] = at;
	free(state);
}

/* Reads a block as the server does; returns how many frames it has. */
static int
block_take(const uint8 *bytes, const RecordedSecond *expected, int nexpected)
{
	static BlockReader reader;
	int			n = 0;

	if (!block_open(&reader, bytes, 0))
		return -1;
	while (block_next(&reader))
	{
		const RecordedSecond *second = &reader.state.second;

		if (second->nservices < 0 || second->nservices > RECORDED_SERVICES_MAX || second->nborrowers < 0 || second->nborrowers > RECORDED_BORROWERS_MAX || second->npools < 0 || second->npools > RECORDED_POOLS_MAX ||
			second->nevents < 0 || second->nevents > RECORDED_EVENTS_MAX || second->health >= HEALTHS || second->from > second->to)
			fail("a second that cannot be");
		foreach_recorded_service(second, service)
			if (strlen(service->usename) >= NAMEDATALEN || recorded_service_in_use(service) < 0)
				fail("a service that cannot be");
		if (n < nexpected && !seconds_are_same(&expected[n], second))
			fail("a second differs");
		n++;
	}
	return n;
}

static void
frame_seal(uint8 *bytes, uint64 sequence, uint32 at)
{
	uint32		head[2];
	pg_crc32c	crc;

	memcpy(head, bytes + at, sizeof(head));
	if (head[0] > RECORDER_BLOCK_SIZE - at - FRAME_OVERHEAD)
		return;
	INIT_CRC32C(crc);
	COMP_CRC32C(crc, &sequence, sizeof(sequence));
	COMP_CRC32C(crc, &head[0], sizeof(head[0]));
	COMP_CRC32C(crc, bytes + at + FRAME_OVERHEAD, head[0]);
	FIN_CRC32C(crc);
	head[1] = crc;
	memcpy(bytes + at, head, sizeof(head));
}

/* Damages a copy of a block; returns how many of its frames must have stayed as they are. */
static int
damage(uint8 *bytes, int n)
{
	int			frame = chance(nwritten[n]);
	uint32		at = frames_at[n][frame];
	uint32		length = frames_at[n][frame + 1] - at;

	switch (chance(6))
	{
		case 0:					/* cut */
			memset(bytes + at + chance(length), 0, RECORDER_BLOCK_SIZE - at - length);
			return frame;
		case 1:					/* a bit */
			bytes[at + chance(length)] ^= 1 << chance(8);
			return frame;
		case 2:					/* noise */
			for (uint32 i = at; i < RECORDER_BLOCK_SIZE; i++)
				bytes[i] = chance(256);
			return frame;
		case 3:					/* of another block */
			memcpy(bytes + at, blocks[(n + 1) % BLOCKS] + at, RECORDER_BLOCK_SIZE - at);
			return frame;
		case 4:					/* bits, with a checksum that is right */
			for (int i = chance(40); i >= 0; i--)
				bytes[at + FRAME_OVERHEAD + chance(length - FRAME_OVERHEAD)] ^= 1 << chance(8);
			frame_seal(bytes, n + 1, at);
			return frame;
		default:				/* noise, likewise */
			{
				uint32		head[2] = {1 + chance(Min(FRAME_MAX, RECORDER_BLOCK_SIZE - at - FRAME_OVERHEAD)), 0};

				memcpy(bytes + at, head, sizeof(head));
				for (uint32 i = 0; i < head[0]; i++)
					bytes[at + FRAME_OVERHEAD + i] = chance(3) ? chance(256) : 0xff;
				frame_seal(bytes, n + 1, at);
				return frame;
			}
	}
}

static void
prove(int rounds)
{
	uint8	   *copy = malloc(RECORDER_BLOCK_SIZE + BITS_SLACK);

	for (int n = 0; n < BLOCKS; n++)
	{
		block_make(n);
		if (block_take(blocks[n], written[n], nwritten[n]) != nwritten[n])
			fail("what was written is not read");
	}
	for (int i = 0; i < rounds; i++)
	{
		int			n = chance(BLOCKS);
		int			kept;

		memcpy(copy, blocks[n], RECORDER_BLOCK_SIZE + BITS_SLACK);
		kept = damage(copy, n);
		if (block_take(copy, written[n], kept) < kept)
			fail("a frame before the damage is not read");
	}
	free(copy);
	printf("ok: %d blocks were damaged\n", rounds);
}

/* ---------- A file ---------- */

typedef struct File
{
	FILE	   *out;
	uint8		block[RECORDER_BLOCK_SIZE];
	uint32		at;				/* the end of what is in it */
	RecorderBlockHeader header;
	FrameState	state;
	bool		ill;			/* a second of the block is part of an incident */
	uint64		bytes;			/* of frames */
} File;

/* The first block says what the file is. */
static File *
file_begin(const char *path, uint64 system_identifier)
{
	File	   *file = calloc(1, sizeof(File));
	RecorderFileHeader header = {.system_identifier = system_identifier};

	if ((file->out = fopen(path, "w")) == NULL)
		fail("the file cannot be written");
	file_header_seal(&header);
	memcpy(file->block, &header, sizeof(header));
	return file;
}

static int
file_put(File *file, const RecordedSecond *second, int64 gap_ms, bool key)
{
	return block_frame(file->header.sequence, &file->state, second, gap_ms, key, file->block + file->at, (int) (RECORDER_BLOCK_SIZE - file->at));
}

static void
file_append(File *file, const RecordedSecond *second, int64 gap_ms)
{
	int			length = file->at > 0 ? file_put(file, second, gap_ms, false) : 0;

	if (length == 0)
	{
		fwrite(file->block, sizeof(file->block), 1, file->out);
		memset(file->block, 0, sizeof(file->block));
		file->header.sequence++;
		file->header.began_at = second->from;
		file->header.before = file->ill ? BLOCK_ILL : BLOCK_CALM;
		file->ill = false;
		block_header_seal(&file->header);
		memcpy(file->block, &file->header, sizeof(file->header));
		file->at = sizeof(file->header);
		length = file_put(file, second, gap_ms, true);
	}
	file->ill |= recorded_is_ill(second);
	file->at += length;
	file->bytes += length;
}

static void
file_end(File *file)
{
	fwrite(file->block, sizeof(file->block), 1, file->out);
	if (fclose(file->out) != 0)
		fail("the file cannot be written");
	free(file);
}

/* The file of a busy server. */
static void
file_make(const char *path, int seconds, uint64 system_identifier, int64 until)
{
	File	   *file = file_begin(path, system_identifier);
	static RecordedSecond second;

	second.to = (until - seconds * INT64CONST(1002) / 1000 - INT64CONST(946684800)) * 1000000;
	for (int i = 1; i <= seconds; i++)
	{
		second_move(&second, i, i % 3600 > 3300);
		file_append(file, &second, 0);
	}
	printf("%.1f bytes a second\n", (double) file->bytes / seconds);
	file_end(file);
}

/* Reads a file to its end. */
static void
file_read(const char *path)
{
	FILE	   *in = fopen(path, "r");
	static uint8 block[RECORDER_BLOCK_SIZE + BITS_SLACK];
	static BlockReader reader;
	struct timespec begun,
				ended;
	int			seconds = 0;

	clock_gettime(CLOCK_MONOTONIC, &begun);
	while (in != NULL && fread(block, RECORDER_BLOCK_SIZE, 1, in) == 1)
		for (bool valid = block_open(&reader, block, 0); valid && block_next(&reader);)
			seconds++;
	clock_gettime(CLOCK_MONOTONIC, &ended);
	printf("%d seconds, %.1f ms\n", seconds, (ended.tv_sec - begun.tv_sec) * 1e3 + (ended.tv_nsec - begun.tv_nsec) / 1e6);
	if (in != NULL)
		fclose(in);
}

/* A file of seconds that are read; the time between two of them is a gap. */
static void
file_of_seconds(const char *path, uint64 system_identifier)
{
	File	   *file = file_begin(path, system_identifier);
	static RecordedSecond second;
	long long	from,
				length,
				run;
	unsigned	let_in,
				slots,
				limited,
				not_accepting;

	second.capacity = 97;
	second.slots = 100;
	while (scanf("%lld %lld %u %u %u %u %lld", &from, &length, &let_in, &slots, &limited, &not_accepting, &run) == 7)
	{
		int64		gap_us = second.to == 0 ? 0 : from * 1000 - second.to;

		second.from = from * 1000;
		second.to = second.from + length * 1000;
		second.opened = let_in;
		second.refused[CAUSE_RESERVED_SLOTS] = slots;
		second.refused[CAUSE_ROLE_LIMIT] = limited;
		second.refused[CAUSE_NOT_ACCEPTING] = not_accepting;
		second.run_id = run;
		file_append(file, &second, Max(gap_us, 0) / 1000);
	}
	file_end(file);
}

int
main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "prove") == 0)
	{
		seed = strtoull(argv[3], NULL, 10) * 2654435761 + 1;
		prove(atoi(argv[2]));
		return 0;
	}
	if (argc == 6 && strcmp(argv[1], "file") == 0)
	{
		seed = 1;
		file_make(argv[2], atoi(argv[3]), strtoull(argv[4], NULL, 10), atoll(argv[5]));
		return 0;
	}
	if (argc == 3 && strcmp(argv[1], "read") == 0)
	{
		file_read(argv[2]);
		return 0;
	}
	if (argc == 4 && strcmp(argv[1], "seconds") == 0)
	{
		file_of_seconds(argv[2], strtoull(argv[3], NULL, 10));
		return 0;
	}
	fprintf(stderr, "usage: recorder_bytes prove ROUNDS SEED | file FILE SECONDS SYSTEM_IDENTIFIER UNTIL | read FILE | seconds FILE SYSTEM_IDENTIFIER\n");
	return 2;
}
