/*
 * words.c
 *		The words of a set: find one, and list them all.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "base/words.h"

/* Returns the member of that name, or -1. */
int
words_find(const Words *words, const char *name)
{
	for (int i = 0; i < words->n; i++)
		if (words->names[i] != NULL && strcmp(words->names[i], name) == 0)
			return i;
	return -1;
}

/* Returns all of them, with commas between them, palloc'd. */
char *
words_text(const Words *words)
{
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < words->n; i++)
		if (words->names[i] != NULL)
			appendStringInfo(&text, "%s%s", text.len > 0 ? ", " : "", words->names[i]);
	return text.data;
}
