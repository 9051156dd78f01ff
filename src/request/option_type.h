/*
 * option_type.h
 *		What an option can be: a number, a word, a text, a list of levels or of names.
 */
#pragma once

#include "lib/stringinfo.h"
#include "utils/jsonb.h"

#include "shmem/options.h"

/* What there is to know of one option, whatever scenario has it. */
typedef struct OptionSpec
{
	const char *name;
	const struct OptionType *type;
	size_t		offset;			/* of its field in Options ... */
	size_t		size;			/* ... and that field's size */
	int64		min;			/* of a number, or of each level */
	int64		max;			/* likewise; of a text, in bytes */
	const Words *words;
	const char *what;			/* a text is, or names are of, for the hint ... */
	const char *unset;			/* ... and what takes its place if it is empty;
								 * what a number means that no view describes */
} OptionSpec;

/* "field" is the one in Options that the option is kept in. */
typedef struct OptionType
{
	enum jbvType json;			/* how it is given */
	const char *wanted;			/* that, in words */

	/* Sets the default.  NULL: that is all zeros. */
	void		(*reset) (void *field, const OptionDefault *option, Profile profile);

	/* Sets what was given, which is of the right type; ERROR if it is wrong. */
	void		(*read) (const OptionSpec *spec, void *field, const JsonbValue *value);

	/* Is it as if it were left out?  NULL: there is no such value. */
	bool		(*is_empty) (const void *field);

	/* Appends the value as JSON. */
	void		(*write) (const OptionSpec *spec, const void *field, StringInfo json);

	/* Appends the default, and what else is possible, as members of an object. */
	void		(*describe) (const OptionSpec *spec, const OptionDefault *option, StringInfo json);

	/* What would be right; palloc'd. */
	char	   *(*hint) (const OptionSpec *spec);
} OptionType;

extern const OptionType option_number;
extern const OptionType option_word;
extern const OptionType option_text;
extern const OptionType option_levels;
extern const OptionType option_names;

extern void option_read(const OptionSpec *spec, void *field, const JsonbValue *value);
