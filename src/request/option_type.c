/*
 * option_type.c
 *		What an option can be: a number, a word, a text, a list of levels or of names.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/numeric.h"

#include "base/compat.h"
#include "request/option_type.h"

static const char *const jsonb_type_names[] = {
	[jbvNull] = "null",
	[jbvString] = "a string",
	[jbvNumeric] = "a number",
	[jbvBool] = "a boolean",
	[jbvArray] = "an array",
	[jbvObject] = "an object",
};

static enum jbvType
jsonb_type(const JsonbValue *value)
{
	if (value->type != jbvBinary)
		return value->type;
	return JsonContainerIsArray(value->val.binary.data) ? jbvArray : jbvObject;
}

/* ERROR with what is wrong, and the hint of the option's type. */
pg_noreturn static void
option_is_wrong(const OptionSpec *spec, const char *message)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s", message),
			 errhint("%s", spec->type->hint(spec))));
}

/* "subject" is the option, or an element of it. */
static void
require_type(const OptionSpec *spec, const char *subject, const JsonbValue *value,
			 enum jbvType type, const char *wanted)
{
	if (jsonb_type(value) != type)
		option_is_wrong(spec, psprintf("%s must be %s, not %s", subject, wanted,
									   jsonb_type_names[jsonb_type(value)]));
}

static void
require_length(const OptionSpec *spec, int length, const char *unit, int max)
{
	if (length < 1 || length > max)
		option_is_wrong(spec, psprintf("option \"%s\" has %d %s, outside the bounds 1 to %d",
									   spec->name, length, unit, max));
}

/* The whole number that was given, ERROR if it is none or out of bounds. */
static int64
whole_number(const OptionSpec *spec, const char *subject, const JsonbValue *value)
{
	char	   *text;
	char	   *end;
	int64		number;

	require_type(spec, subject, value, jbvNumeric, option_number.wanted);
	text = DatumGetCString(DirectFunctionCall1(numeric_out,
											   NumericGetDatum(value->val.numeric)));
	errno = 0;
	number = strtoll(text, &end, 10);
	if (*end != '\0')
		option_is_wrong(spec, psprintf("%s must be %s, not %.40s", subject, option_number.wanted, text));
	if (errno == ERANGE || number < spec->min || number > spec->max)
		option_is_wrong(spec, psprintf("%s is %.40s, outside the bounds " INT64_FORMAT " to " INT64_FORMAT,
									   subject, text, spec->min, spec->max));
	return number;
}

static char *
option_subject(const OptionSpec *spec)
{
	return psprintf("option \"%s\"", spec->name);
}

/* ---------- Numbers ---------- */

static void
number_reset(void *field, const OptionDefault *option, Profile profile)
{
	*(int64 *) field = option->random
		? (int64) pg_prng_uint64_range(&pg_global_prng_state, 0, PG_INT32_MAX)
		: option->defaults[profile];
}

static void
number_read(const OptionSpec *spec, void *field, const JsonbValue *value)
{
	*(int64 *) field = whole_number(spec, option_subject(spec), value);
}

static void
number_write(const OptionSpec *spec, const void *field, StringInfo json)
{
	appendStringInfo(json, INT64_FORMAT, *(const int64 *) field);
}

static void
bounds_describe(const OptionSpec *spec, StringInfo json)
{
	appendStringInfo(json, ", \"min\": " INT64_FORMAT ", \"max\": " INT64_FORMAT,
					 spec->min, spec->max);
}

static void
number_describe(const OptionSpec *spec, const OptionDefault *option, StringInfo json)
{
	if (option->random)
		appendStringInfoString(json, "\"default\": \"random\"");
	else
		for (int i = 0; i < PROFILES; i++)
			appendStringInfo(json, "%s\"%s\": " INT64_FORMAT, i > 0 ? ", " : "",
							 i > 0 ? profile_words.names[i] : "default", option->defaults[i]);
	bounds_describe(spec, json);
}

static char *
number_hint(const OptionSpec *spec)
{
	return psprintf("Whole numbers from " INT64_FORMAT " to " INT64_FORMAT " are possible; %s.",
					spec->min, spec->max,
					spec->what != NULL ? spec->what : "view pool_exhaust_scenario_options describes the options");
}

const OptionType option_number = {
	jbvNumeric, "a whole number",
	number_reset, number_read, NULL, number_write, number_describe, number_hint
};

/* ---------- Words ---------- */

/* The same one in all profiles: what differs by profile is a matter of degree. */
static void
word_reset(void *field, const OptionDefault *option, Profile profile)
{
	*(int64 *) field = option->defaults[PROFILE_QUICK];
}

static void
word_read(const OptionSpec *spec, void *field, const JsonbValue *value)
{
	char	   *word = pnstrdup(value->val.string.val, value->val.string.len);
	int			member = words_find(spec->words, word);

	if (member < 0)
		option_is_wrong(spec, psprintf("option \"%s\" cannot be \"%s\"", spec->name, word));
	*(int64 *) field = member;
}

static void
word_write(const OptionSpec *spec, const void *field, StringInfo json)
{
	escape_json(json, spec->words->names[*(const int64 *) field]);
}

static void
word_describe(const OptionSpec *spec, const OptionDefault *option, StringInfo json)
{
	appendStringInfo(json, "\"default\": \"%s\", \"values\": \"%s\"",
					 spec->words->names[option->defaults[PROFILE_QUICK]], words_text(spec->words));
}

static char *
word_hint(const OptionSpec *spec)
{
	return psprintf("Values are: %s.", words_text(spec->words));
}

const OptionType option_word = {
	jbvString, "a string",
	word_reset, word_read, NULL, word_write, word_describe, word_hint
};

/* ---------- Texts ---------- */

static void
text_read(const OptionSpec *spec, void *field, const JsonbValue *value)
{
	int			length = value->val.string.len;

	require_length(spec, length, "bytes", (int) spec->max);
	memcpy(field, value->val.string.val, length);
	((char *) field)[length] = '\0';
}

static bool
text_is_empty(const void *field)
{
	return *(const char *) field == '\0';
}

static void
text_write(const OptionSpec *spec, const void *field, StringInfo json)
{
	escape_json(json, field);
}

static void
text_describe(const OptionSpec *spec, const OptionDefault *option, StringInfo json)
{
	appendStringInfo(json, "\"default\": \"%s\"", spec->unset);
}

static char *
text_hint(const OptionSpec *spec)
{
	return psprintf("Give %s, or leave the option out for %s.", spec->what, spec->unset);
}

const OptionType option_text = {
	jbvString, "a string",
	NULL, text_read, text_is_empty, text_write, text_describe, text_hint
};

/* ---------- Lists of levels ---------- */

static void
levels_reset(void *field, const OptionDefault *option, Profile profile)
{
	*(Levels *) field = option->levels;
}

static void
levels_read(const OptionSpec *spec, void *field, const JsonbValue *value)
{
	Levels	   *levels = field;
	JsonbContainer *array = value->val.binary.data;
	int			n = JsonContainerSize(array);

	require_length(spec, n, "elements", LEVELS_MAX);
	levels->n = n;
	for (int i = 0; i < n; i++)
		levels->percent[i] = whole_number(spec, psprintf("element %d of option \"%s\"", i + 1, spec->name),
										  getIthJsonbValueFromContainer(array, i));
}

static void
levels_write(const OptionSpec *spec, const void *field, StringInfo json)
{
	const Levels *levels = field;

	appendStringInfoChar(json, '[');
	for (int i = 0; i < levels->n; i++)
		appendStringInfo(json, "%s" INT64_FORMAT, i > 0 ? ", " : "", levels->percent[i]);
	appendStringInfoChar(json, ']');
}

static void
levels_describe(const OptionSpec *spec, const OptionDefault *option, StringInfo json)
{
	appendStringInfoString(json, "\"default\": ");
	levels_write(spec, &option->levels, json);
	bounds_describe(spec, json);
	appendStringInfo(json, ", \"max_count\": %d", LEVELS_MAX);
}

static char *
levels_hint(const OptionSpec *spec)
{
	return psprintf("Give 1 to %d whole numbers from " INT64_FORMAT " to " INT64_FORMAT ", like [50, 100].",
					LEVELS_MAX, spec->min, spec->max);
}

const OptionType option_levels = {
	jbvArray, "an array of whole numbers",
	levels_reset, levels_read, NULL, levels_write, levels_describe, levels_hint
};

/* ---------- Lists of names ---------- */

/* Each name once. */
static void
names_add(const OptionSpec *spec, NameList *names, const JsonbValue *value)
{
	char	   *name = names->name[names->n];
	int			length;

	require_type(spec, psprintf("element %d of option \"%s\"", (int) names->n + 1, spec->name), value, jbvString, "a string");
	length = value->val.string.len;
	require_length(spec, length, "bytes", NAMEDATALEN - 1);
	memcpy(name, value->val.string.val, length);
	name[length] = '\0';
	for (int i = 0; i < names->n; i++)
		if (strcmp(names->name[i], name) == 0)
			option_is_wrong(spec, psprintf("option \"%s\" has \"%s\" twice", spec->name, name));
	names->n++;
}

static void
names_read(const OptionSpec *spec, void *field, const JsonbValue *value)
{
	JsonbContainer *array = value->val.binary.data;
	int			n = JsonContainerSize(array);

	require_length(spec, n, "elements", NAME_LIST_MAX);
	((NameList *) field)->n = 0;
	for (int i = 0; i < n; i++)
		names_add(spec, field, getIthJsonbValueFromContainer(array, i));
}

static bool
names_is_empty(const void *field)
{
	return ((const NameList *) field)->n == 0;
}

static void
names_write(const OptionSpec *spec, const void *field, StringInfo json)
{
	const NameList *names = field;

	appendStringInfoChar(json, '[');
	for (int i = 0; i < names->n; i++)
	{
		appendStringInfoString(json, i > 0 ? ", " : "");
		escape_json(json, names->name[i]);
	}
	appendStringInfoChar(json, ']');
}

static void
names_describe(const OptionSpec *spec, const OptionDefault *option, StringInfo json)
{
	appendStringInfo(json, "\"default\": [], \"max_count\": %d", NAME_LIST_MAX);
}

static char *
names_hint(const OptionSpec *spec)
{
	return psprintf("Give 1 to %d names of %s, each once, like [\"n1\", \"n2\"].", NAME_LIST_MAX, spec->what);
}

const OptionType option_names = {
	jbvArray, "an array of names",
	NULL, names_read, names_is_empty, names_write, names_describe, names_hint
};

/* Sets what was given; ERROR names the option, what is wrong and what would be right. */
void
option_read(const OptionSpec *spec, void *field, const JsonbValue *value)
{
	require_type(spec, option_subject(spec), value, spec->type->json, spec->type->wanted);
	spec->type->read(spec, field, value);
}
