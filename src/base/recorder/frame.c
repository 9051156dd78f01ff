/*
 * frame.c
 *		A second as bytes.
 *
 * The parts of a frame stand in the same order in encode_...() and decode_...().  Each
 * is a flag that says whether anything differs, and the differences.
 */
#include "postgres.h"

#include "base/recorder/bits.h"
#include "base/recorder/frame.h"

/* States of services: no login under way has one yet.  Those that are rare have a flag before them. */
#define SERVICE_STATES	(SLOT_AUTHENTICATING + 1)
#define RARE_STATES		SLOT_UNKNOWN

StaticAssertDecl(SLOT_AUTHENTICATING == 0, "the states of a session are the others");

#define AT_BITS			46		/* milliseconds since the year 2000: more than 2000 years */
#define NAME_BITS		6		/* of the length of a name */
#define BORROWER_BITS	7		/* of the length of a borrower */
#define HEALTH_BITS		2

StaticAssertDecl(NAMEDATALEN <= 1 << NAME_BITS, "the length of a name must fit");
StaticAssertDecl(BORROWER_LEN <= 1 << BORROWER_BITS, "the length of a borrower must fit");
StaticAssertDecl(HEALTHS <= 1 << HEALTH_BITS, "a health must fit");

/* No service has more sessions in a state; one less than a power of two. */
#define STATE_MAX		((1 << 28) - 1)

/* No span of time in a frame is longer. */
#define SPAN_MS_MAX		(INT64CONST(1) << AT_BITS)

/* ---------- Encoding ---------- */

static int64
to_ms(TimestampTz at)
{
	return Max(at, 0) / 1000;
}

static void
encode_time(BitWriter *out, const FrameState *state, const RecordedSecond *second, int64 gap_ms, bool key)
{
	int64		at_ms = to_ms(second->to);
	int64		step_ms = at_ms - (int64) state->at_ms;

	bits_put(out, key, 1);
	if (key)
	{
		bits_put(out, (uint64) at_ms, AT_BITS);
		bits_put_number(out, LEDGER_CAUSES);
		bits_put_number(out, SLOT_STATES);
		bits_put_number(out, LEAK_RULES);
		step_ms = 0;
	}
	else
		bits_put_signed(out, step_ms - state->step_ms);
	bits_put_signed(out, at_ms - to_ms(second->from) - step_ms);
	bits_put_number(out, (uint64) Max(gap_ms, 0));
}

/* Those from "first" to before "end" */
static void
encode_states(BitWriter *out, const int *before, const int *now, int first, int end)
{
	for (int i = first; i < end; i++)
		bits_put_signed(out, (int64) now[i] - before[i]);
}

static void
encode_totals(BitWriter *out, const RecordedSecond *before, const RecordedSecond *now)
{
	bool		moved = memcmp(before->by_state, now->by_state, sizeof(now->by_state)) != 0;
	bool		settings = before->capacity != now->capacity || before->slots != now->slots || before->run_id != now->run_id;

	bits_put(out, moved, 1);
	if (moved)
		encode_states(out, before->by_state, now->by_state, 0, SLOT_STATES);
	bits_put(out, settings, 1);
	if (settings)
	{
		bits_put_number(out, (uint64) now->capacity);
		bits_put_number(out, (uint64) now->slots);
		bits_put_number(out, (uint64) now->run_id);
	}
	bits_put(out, now->health, HEALTH_BITS);
	bits_put_number(out, now->opened);
	bits_put_number(out, now->closed);
}

static void
encode_refused(BitWriter *out, const RecordedSecond *now)
{
	bool		any = recorded_refused(now) > 0;

	bits_put(out, any, 1);
	for (int i = 0; any && i < LEDGER_CAUSES; i++)
		bits_put_number(out, now->refused[i]);
}

static void
encode_suspects(BitWriter *out, const RecordedSecond *before, const RecordedSecond *now)
{
	bool		moved = memcmp(before->suspects, now->suspects, sizeof(now->suspects)) != 0;

	bits_put(out, moved, 1);
	for (int i = 0; moved && i < LEAK_RULES; i++)
		bits_put_signed(out, (int64) now->suspects[i] - before->suspects[i]);
}

/* A text, whose length has so many bits. */
static void
encode_text(BitWriter *out, const char *text, int nbits)
{
	int			len = (int) strlen(text);

	bits_put(out, len, nbits);
	for (int i = 0; i < len; i++)
		bits_put(out, (uint8) text[i], 8);
}

static void
encode_name(BitWriter *out, const char *name)
{
	encode_text(out, name, NAME_BITS);
}

/* Is another service at this place than before? */
static bool
service_is_new(const RecordedService *before, const RecordedService *now)
{
	return now->taken && (!before->taken || before->number != now->number || before->role != now->role);
}

/* The names of services that are new, and their places. */
static void
encode_names(BitWriter *out, RecordedSecond *before, const RecordedSecond *now)
{
	for (int i = 0; i <= RECORDED_OTHERS; i++)
	{
		const RecordedService *service = &now->services[i];

		if (!service_is_new(&before->services[i], service))
			continue;
		bits_put(out, 1, 1);
		bits_put_number(out, i);
		bits_put_number(out, service->number);
		bits_put_number(out, service->role);
		encode_name(out, service->usename);
		encode_name(out, service->application_name);
		memset(&before->services[i], 0, sizeof(RecordedService));
		before->services[i].taken = true;
		before->nservices = i < RECORDED_OTHERS ? Max(before->nservices, i + 1) : before->nservices;
	}
	bits_put(out, 0, 1);
}

static void
encode_service(BitWriter *out, const RecordedService *before, const RecordedService *now)
{
	bool		moved = memcmp(before->by_state, now->by_state, sizeof(now->by_state)) != 0 || now->opened > 0 || now->refused > 0;
	bool		rare = now->refused > 0;

	bits_put(out, moved, 1);
	if (!moved)
		return;
	encode_states(out, before->by_state, now->by_state, SERVICE_STATES, RARE_STATES);
	bits_put_number(out, now->opened);
	for (int i = RARE_STATES; i < SLOT_STATES; i++)
		rare |= now->by_state[i] != before->by_state[i];
	bits_put(out, rare, 1);
	if (!rare)
		return;
	encode_states(out, before->by_state, now->by_state, RARE_STATES, SLOT_STATES);
	bits_put_number(out, now->refused);
}

static void
encode_services(BitWriter *out, const RecordedSecond *before, const RecordedSecond *now)
{
	for (int i = 0; i < before->nservices; i++)
		if (before->services[i].taken)
			encode_service(out, &before->services[i], &now->services[i]);
	if (before->services[RECORDED_OTHERS].taken)
		encode_service(out, &before->services[RECORDED_OTHERS], &now->services[RECORDED_OTHERS]);
}

static bool
pools_are_same(const RecordedSecond *before, const RecordedSecond *now)
{
	if (before->npools != now->npools)
		return false;
	for (int i = 0; i < now->npools; i++)
		if (before->pools[i].kind != now->pools[i].kind || before->pools[i].oid != now->pools[i].oid ||
			strcmp(before->pools[i].name, now->pools[i].name) != 0)
			return false;
	return true;
}

static void
encode_pool(BitWriter *out, const RecordedPool *before, const RecordedPool *now)
{
	bool		moved = before->capacity != now->capacity || before->in_use != now->in_use || before->health != now->health;

	bits_put(out, moved, 1);
	if (!moved)
		return;
	bits_put_signed(out, (int64) now->capacity - before->capacity);
	bits_put_signed(out, (int64) now->in_use - before->in_use);
	bits_put(out, now->health, HEALTH_BITS);
}

static void
encode_pools(BitWriter *out, RecordedSecond *before, const RecordedSecond *now)
{
	bool		same = pools_are_same(before, now);

	bits_put(out, !same, 1);
	if (!same)
	{
		bits_put_number(out, now->npools);
		for (int i = 0; i < now->npools; i++)
		{
			bits_put_number(out, now->pools[i].kind);
			bits_put_number(out, now->pools[i].oid);
			encode_name(out, now->pools[i].name);
		}
		memset(before->pools, 0, sizeof(before->pools));
	}
	for (int i = 0; i < now->npools; i++)
		encode_pool(out, &before->pools[i], &now->pools[i]);
}

static bool
borrowers_are_same(const RecordedSecond *before, const RecordedSecond *now)
{
	return before->nborrowers == now->nborrowers &&
		memcmp(before->borrowers, now->borrowers, sizeof(RecordedBorrower) * now->nborrowers) == 0;
}

static void
encode_borrowers(BitWriter *out, const RecordedSecond *before, const RecordedSecond *now)
{
	bool		same = borrowers_are_same(before, now);

	bits_put(out, !same, 1);
	if (same)
		return;
	bits_put_number(out, now->nborrowers);
	for (int i = 0; i < now->nborrowers; i++)
	{
		bits_put_number(out, now->borrowers[i].place);
		bits_put_number(out, now->borrowers[i].sessions);
		encode_text(out, now->borrowers[i].name, BORROWER_BITS);
	}
}

static void
encode_events(BitWriter *out, const RecordedSecond *now)
{
	bits_put_number(out, now->nevents);
	for (int i = 0; i < now->nevents; i++)
	{
		bits_put_number(out, now->events[i].type);
		bits_put_number(out, now->events[i].place + 1);
		bits_put_signed(out, now->events[i].value);
		bits_put_signed(out, now->events[i].other);
	}
}

/* The state after a frame that begins anew */
static void
state_begin(FrameState *state)
{
	memset(state, 0, sizeof(*state));
	state->keyed = true;
	state->causes = LEDGER_CAUSES;
	state->states = SLOT_STATES;
	state->rules = LEAK_RULES;
}

/* A place that is free now keeps its names, as it does where this is decoded. */
static void
state_move(FrameState *state, const RecordedSecond *second, int64 gap_ms, bool key)
{
	RecordedSecond *kept = &state->second;
	int64		at_ms = to_ms(second->to);
	int			nservices = kept->nservices;

	state->step_ms = key ? 0 : at_ms - (int64) state->at_ms;
	state->at_ms = (uint64) at_ms;
	state->gap_ms = gap_ms;
	memcpy(kept, second, offsetof(RecordedSecond, nservices));
	kept->nservices = nservices;
	for (int i = 0; i <= RECORDED_OTHERS; i++)
	{
		if (second->services[i].taken)
			kept->services[i] = second->services[i];
		else
			memset(kept->services[i].by_state, 0, sizeof(kept->services[i].by_state));
	}
	kept->npools = second->npools;
	memcpy(kept->pools, second->pools, sizeof(kept->pools));
	kept->nborrowers = second->nborrowers;
	memcpy(kept->borrowers, second->borrowers, sizeof(kept->borrowers));
}

int
frame_encode(FrameState *state, const RecordedSecond *second, int64 gap_ms, bool key, uint8 *bytes, int size)
{
	BitWriter	out = {.data = bytes, .size = (uint32) size * 8};
	FrameState	before = *state;

	key |= !state->keyed;
	if (key)
		state_begin(&before);
	memset(bytes, 0, size);
	encode_time(&out, &before, second, gap_ms, key);
	encode_totals(&out, &before.second, second);
	encode_refused(&out, second);
	encode_suspects(&out, &before.second, second);
	encode_names(&out, &before.second, second);
	encode_services(&out, &before.second, second);
	encode_pools(&out, &before.second, second);
	encode_borrowers(&out, &before.second, second);
	encode_events(&out, second);
	if (out.full)
		return 0;
	state_move(&before, second, gap_ms, key);
	*state = before;
	return (int) (out.at + 7) / 8;
}

/* ---------- Decoding ---------- */

/* Returns a value between 0 and "most"; one that is not is not well-formed. */
static inline int64
checked(BitReader *in, int64 value, int64 most)
{
	if (likely(value >= 0 && value <= most))
		return value;
	in->broken = true;
	return 0;
}

static int64
get_number(BitReader *in, int64 most)
{
	return checked(in, (int64) bits_get_number(in), most);
}

/* A number that differs from that by so much */
static int
get_moved(BitReader *in, int before)
{
	return (int) checked(in, before + bits_get_signed(in), PG_INT32_MAX / SLOT_STATES);
}

/* Seconds are as long as they were in a monitor that was late, at the most. */
static void
decode_time(BitReader *in, FrameState *state)
{
	RecordedSecond *second = &state->second;
	int64		span_ms;

	if (bits_get_flag(in))
	{
		state_begin(state);
		state->at_ms = bits_get(in, AT_BITS);
		state->causes = (int) get_number(in, 1024);
		state->states = (int) get_number(in, 1024);
		state->rules = (int) get_number(in, 1024);
	}
	else if (!state->keyed)
		in->broken = true;
	else
	{
		state->step_ms += checked(in, bits_get_signed(in) + SPAN_MS_MAX, 2 * SPAN_MS_MAX) - SPAN_MS_MAX;
		state->at_ms = (uint64) checked(in, (int64) state->at_ms + state->step_ms, SPAN_MS_MAX);
	}
	span_ms = checked(in, bits_get_signed(in) + state->step_ms, SPAN_MS_MAX);
	state->gap_ms = get_number(in, SPAN_MS_MAX);
	second->to = (TimestampTz) state->at_ms * 1000;
	second->from = second->to - span_ms * 1000;
}

/* States that this version does not know are left out. */
static void
decode_states(BitReader *in, const FrameState *state, int first, int *by_state)
{
	for (int i = first; i < state->states && !in->broken; i++)
	{
		if (i < SLOT_STATES)
			by_state[i] = get_moved(in, by_state[i]);
		else
			bits_get_number(in);
	}
}

static void
decode_totals(BitReader *in, FrameState *state)
{
	RecordedSecond *second = &state->second;

	if (bits_get_flag(in))
		decode_states(in, state, 0, second->by_state);
	if (bits_get_flag(in))
	{
		second->capacity = (int) get_number(in, PG_INT32_MAX);
		second->slots = (int) get_number(in, PG_INT32_MAX);
		second->run_id = (int64) bits_get_number(in);
	}
	second->health = (Health) checked(in, (int64) bits_get(in, HEALTH_BITS), HEALTHS - 1);
	second->opened = (uint32) get_number(in, PG_INT32_MAX);
	second->closed = (uint32) get_number(in, PG_INT32_MAX);
}

static void
decode_refused(BitReader *in, FrameState *state)
{
	memset(state->second.refused, 0, sizeof(state->second.refused));
	if (!bits_get_flag(in))
		return;
	for (int i = 0; i < state->causes && !in->broken; i++)
	{
		uint32		refused = (uint32) get_number(in, PG_INT32_MAX);

		if (i < LEDGER_CAUSES)
			state->second.refused[i] = refused;
	}
}

static void
decode_suspects(BitReader *in, FrameState *state)
{
	if (!bits_get_flag(in))
		return;
	for (int i = 0; i < state->rules && !in->broken; i++)
	{
		if (i < LEAK_RULES)
			state->second.suspects[i] = get_moved(in, state->second.suspects[i]);
		else
			bits_get_number(in);
	}
}

static void
decode_text(BitReader *in, char *text, int nbits, int size)
{
	int			len = (int) checked(in, (int64) bits_get(in, nbits), size - 1);

	for (int i = 0; i < len; i++)
	{
		char		byte = (char) bits_get(in, 8);

		text[i] = byte >= ' ' && byte <= '~' ? byte : '?';
	}
	memset(text + len, 0, size - len);
}

static void
decode_name(BitReader *in, char *name)
{
	decode_text(in, name, NAME_BITS, NAMEDATALEN);
}

static void
decode_names(BitReader *in, RecordedSecond *second)
{
	second->renamed = false;
	while (bits_get_flag(in) && !in->broken)
	{
		int			place = (int) get_number(in, RECORDED_OTHERS);
		RecordedService *service = &second->services[place];

		second->renamed = true;
		memset(service, 0, sizeof(*service));
		service->taken = true;
		service->number = (uint32) get_number(in, PG_UINT32_MAX);
		service->role = (Oid) get_number(in, PG_UINT32_MAX);
		decode_name(in, service->usename);
		decode_name(in, service->application_name);
		if (place < RECORDED_OTHERS)
			second->nservices = Max(second->nservices, place + 1);
	}
}

/* What few services have: other states, refusals. */
static void
decode_rare(BitReader *in, const FrameState *state, RecordedService *service)
{
	decode_states(in, state, RARE_STATES, service->by_state);
	service->refused = (uint32) get_number(in, PG_INT32_MAX);
}

/* Differences of the states, and what was opened: what there is most of. */
static void
decode_service(BitReader *in, const FrameState *state, RecordedService *service)
{
	BitWindow	window = window_open(in);
	uint64		states = 0;		/* the bits of all of them */
	uint64		opened = 0;
	bool		rare = false;

	if (!service->taken)
		return;
	if (window_get_flag(in, &window))
	{
		for (int i = SERVICE_STATES; i < RARE_STATES; i++)
		{
			int64		value = service->by_state[i] + bits_signed(window_get_number(in, &window));

			states |= (uint64) value;
			service->by_state[i] = (int) value;
		}
		opened = window_get_number(in, &window);
		rare = window_get_flag(in, &window);
	}
	window_close(in, &window);
	service->opened = (uint32) opened;
	service->refused = 0;
	in->broken |= states > STATE_MAX || opened > PG_INT32_MAX;
	if (unlikely(rare))
		decode_rare(in, state, service);
}

static void
decode_services(BitReader *in, FrameState *state)
{
	for (int i = 0; i < state->second.nservices; i++)
		decode_service(in, state, &state->second.services[i]);
	decode_service(in, state, &state->second.services[RECORDED_OTHERS]);
}

static void
decode_pool(BitReader *in, RecordedPool *pool)
{
	if (!bits_get_flag(in))
		return;
	pool->capacity = get_moved(in, pool->capacity);
	pool->in_use = get_moved(in, pool->in_use);
	pool->health = (Health) checked(in, (int64) bits_get(in, HEALTH_BITS), HEALTHS - 1);
}

static void
decode_pools(BitReader *in, RecordedSecond *second)
{
	if (bits_get_flag(in))
	{
		memset(second->pools, 0, sizeof(second->pools));
		second->npools = (int) get_number(in, RECORDED_POOLS_MAX);
		for (int i = 0; i < second->npools && !in->broken; i++)
		{
			second->pools[i].kind = (int) get_number(in, 1024);
			second->pools[i].oid = (Oid) get_number(in, PG_UINT32_MAX);
			decode_name(in, second->pools[i].name);
		}
	}
	for (int i = 0; i < second->npools && !in->broken; i++)
		decode_pool(in, &second->pools[i]);
}

static void
decode_borrowers(BitReader *in, RecordedSecond *second)
{
	if (!bits_get_flag(in))
		return;
	second->nborrowers = (int) get_number(in, RECORDED_BORROWERS_MAX);
	for (int i = 0; i < second->nborrowers && !in->broken; i++)
	{
		second->borrowers[i].place = (int) get_number(in, RECORDED_OTHERS);
		second->borrowers[i].sessions = (int) get_number(in, PG_INT32_MAX);
		decode_text(in, second->borrowers[i].name, BORROWER_BITS, BORROWER_LEN);
	}
}

static void
decode_events(BitReader *in, RecordedSecond *second)
{
	second->nevents = (int) get_number(in, RECORDED_EVENTS_MAX);
	for (int i = 0; i < second->nevents && !in->broken; i++)
	{
		second->events[i].type = (int) get_number(in, 1024);
		second->events[i].place = (int) get_number(in, RECORDED_OTHERS + 1) - 1;
		second->events[i].value = bits_get_signed(in);
		second->events[i].other = bits_get_signed(in);
	}
}

bool
frame_decode(FrameState *state, const uint8 *bytes, int length)
{
	BitReader	in = {.data = bytes, .size = (uint32) length * 8};

	if (length <= 0 || length > FRAME_MAX)
		return false;
	decode_time(&in, state);
	decode_totals(&in, state);
	decode_refused(&in, state);
	decode_suspects(&in, state);
	decode_names(&in, &state->second);
	decode_services(&in, state);
	decode_pools(&in, &state->second);
	decode_borrowers(&in, &state->second);
	decode_events(&in, &state->second);
	state->keyed &= !in.broken;
	return !in.broken;
}
