/*
 * drive_load.c
 *		What a driver needs to know of a load, and what it says of one that it plays: rows as
 *		"calm wait", in which the key is the bucket; the message is the number of the load.
 */
#include "postgres.h"

#include <math.h>

#include "lib/stringinfo.h"

#include "load/drive_load.h"

#define TALLY_FIELD(name_)	{#name_, offsetof(Tally, name_)},
#define LOAD_FIELD(name_)	{#name_, offsetof(DriveLoad, name_)},

static const DriveField counters[] = {TALLY_COUNTERS(TALLY_FIELD)};
static const DriveField sums[] = {TALLY_SUMS(TALLY_FIELD)};
static const DriveField histograms[] = {TALLY_HISTOGRAMS(TALLY_FIELD)};
static const DriveField numbers[] = {LOAD_NUMBERS(LOAD_FIELD)};

#define FIELD(type, whole, field)	((type *) ((char *) (whole) + (field)->offset))

#define PART_CALM	"calm "
#define PART_BURST	"burst "
#define PART_LOAD	"load "
#define PART_HERE	PART_LOAD "number"	/* always: so there is a row of it */
#define PART_GRANT	"grant"		/* key: when the request reached the pool; value: when it was granted */

/* ---------- What it needs to know ---------- */

#define FIGURE_BOUND(name, max)	{#name, max},

const LoadFigure load_figures[] = {LOAD_FIGURES(FIGURE_BOUND, FIGURE_BOUND)};

#define FIGURE_OF_CONFIG(name, max)	appendStringInfo(&text, "%s%.17g", text.len > 1 ? "," : "", (double) config->name);
#define FIGURE_OF_ARRIVAL(name, max)	appendStringInfo(&text, "%s%.17g", text.len > 1 ? "," : "", (double) arrival->name);

/* Returns "{1.5,0,...}", palloc'd: the figures as an array of SQL. */
char *
drive_load_figures(const LoadConfig *config, const Arrival *arrival)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfoChar(&text, '{');
	LOAD_FIGURES(FIGURE_OF_CONFIG, FIGURE_OF_ARRIVAL);
	appendStringInfoChar(&text, '}');
	return text.data;
}

#define READ_CONFIG(name, max)	config->name = *figures++;
#define READ_ARRIVAL(name, max)	arrival->name = *figures++;

/* Reads LOAD_FIGURES_N figures, which are within their bounds. */
void
drive_load_read_figures(const double *figures, LoadConfig *config, Arrival *arrival)
{
	LOAD_FIGURES(READ_CONFIG, READ_ARRIVAL);
}

/* ---------- What it says ---------- */

typedef struct Writer
{
	DriveRowPut put;
	void	   *arg;
	const char *number;
} Writer;

static void
put_field(const Writer *writer, const char *part, const DriveField *field, int64 key, int64 value)
{
	if (value != 0)
		writer->put(writer->arg, psprintf("%s%s", part, field->name), key, value, writer->number);
}

static void
put_histogram(const Writer *writer, const char *part, const DriveField *field, const Histogram *h)
{
	int64	   *pairs = palloc(sizeof(int64) * 2 * HISTOGRAM_BUCKETS);
	int			n = histogram_pairs(h, pairs);

	for (int i = 0; i < n; i++)
		put_field(writer, part, field, pairs[2 * i], pairs[2 * i + 1]);
	pfree(pairs);
}

/* Puts what the tally has, and begins it anew. */
static void
put_tally(const Writer *writer, const char *part, Tally *tally)
{
	for (int i = 0; i < lengthof(counters); i++)
		put_field(writer, part, &counters[i], 0, (int64) *FIELD(uint64, tally, &counters[i]));
	for (int i = 0; i < lengthof(sums); i++)
		put_field(writer, part, &sums[i], 0, (int64) rint(*FIELD(double, tally, &sums[i])));
	for (int i = 0; i < lengthof(histograms); i++)
		put_histogram(writer, part, &histograms[i], FIELD(Histogram, tally, &histograms[i]));
	memset(tally, 0, sizeof(*tally));
}

static void
put_grants(const Writer *writer, GrantOrder *order)
{
	for (int i = 0; i < order->ndeferred; i++)
		writer->put(writer->arg, PART_GRANT, (int64) order->deferred[i].reached_us, (int64) order->deferred[i].granted_us, writer->number);
	order->ndeferred = 0;
}

/* Puts the rows of a load, and begins its tallies anew. */
void
drive_load_write(Load *load, int number, DriveRowPut put, void *arg)
{
	Writer		writer = {put, arg, psprintf("%d", number)};
	DriveLoad	now = {
		.coming = load->coming,
		.busy = load->busy,
		.asking = load->asking,
		.holding = load->holding,
		.peak_holding = load->peak_holding,
		.ended = load->ended,
		.over_limit = (int64) load->over_limit,
		.last_us = (int64) load->last_us,
	};

	put(arg, PART_HERE, 0, number, writer.number);
	for (int i = 0; i < lengthof(numbers); i++)
		put_field(&writer, PART_LOAD, &numbers[i], 0, *FIELD(int64, &now, &numbers[i]));
	put_tally(&writer, PART_CALM, &load->calm);
	put_tally(&writer, PART_BURST, &load->burst);
	put_grants(&writer, load->config.order);
}

/* ---------- The coordinator reads that ---------- */

/* One report of a load. */
typedef struct Heard
{
	DriveLoad  *said;
	GrantOrder *order;
	int64		offset_us;
	Tally		calm;
	Tally		burst;
} Heard;

static void
add_row(Tally *tally, const char *name, int64 key, int64 value)
{
	const DriveField *counter = drive_field_find(counters, lengthof(counters), name);
	const DriveField *sum = drive_field_find(sums, lengthof(sums), name);
	const DriveField *histogram = drive_field_find(histograms, lengthof(histograms), name);

	if (counter != NULL)
		*FIELD(uint64, tally, counter) += (uint64) value;
	else if (sum != NULL)
		*FIELD(double, tally, sum) += value;
	else if (histogram != NULL && key >= 0 && value > 0)
		histogram_add_pair(FIELD(Histogram, tally, histogram), (uint64) key, (uint64) value);
}

static void
read_number(DriveLoad *said, const char *name, int64 value)
{
	const DriveField *number = drive_field_find(numbers, lengthof(numbers), name);

	if (number != NULL)
		*FIELD(int64, said, number) = Min(Max(value, 0), PG_INT32_MAX);
}

static bool
begins_with(const char *item, const char *part)
{
	return strncmp(item, part, strlen(part)) == 0;
}

static void
row_read(Heard *heard, const char *item, int64 key, int64 value)
{
	const int64 offset_us = heard->offset_us;

	if (begins_with(item, PART_CALM))
		add_row(&heard->calm, item + strlen(PART_CALM), key, value);
	else if (begins_with(item, PART_BURST))
		add_row(&heard->burst, item + strlen(PART_BURST), key, value);
	else if (begins_with(item, PART_LOAD))
		read_number(heard->said, item + strlen(PART_LOAD), value);
	else if (strcmp(item, PART_GRANT) == 0)
		order_defer(heard->order, (GrantedRequest) {1, (uint64) (key - offset_us), (uint64) (value - offset_us)});
}

/* Is that row of this load? */
static bool
row_is_of(const PGresult *rows, int row, int number)
{
	const char *message = PQgetvalue(rows, row, 3);

	return message[0] == '0' + number && message[1] == '\0';
}

/*
 * Reads the rows of that load from a report: how it is now, and what has become of its
 * clients since the report before, which is added to the tallies of "into".  The clock
 * of the driver is offset_us ahead.  It runs inside the loop.
 */
void
drive_load_read(const PGresult *rows, int number, int64 offset_us, DriveLoad *said, Load *into)
{
	static Heard heard;			/* too large for the stack of a loop */

	*said = (DriveLoad) {0};
	memset(&heard, 0, sizeof(heard));
	heard.said = said;
	heard.order = into->config.order;
	heard.offset_us = offset_us;
	if (PQnfields(rows) != 4)
		return;
	for (int i = 0; i < PQntuples(rows); i++)
	{
		if (!row_is_of(rows, i, number))
			continue;
		said->here = true;
		row_read(&heard, PQgetvalue(rows, i, 0), strtoll(PQgetvalue(rows, i, 1), NULL, 10),
				 strtoll(PQgetvalue(rows, i, 2), NULL, 10));
	}
	tally_merge(&into->calm, &heard.calm);
	tally_merge(&into->burst, &heard.burst);
}
