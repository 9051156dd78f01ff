/*
 * words.h
 *		A set is one list: a macro with one row a member, from which its enum, its
 *		size and its table are made.
 *
 * For example:
 *
 *		#define COLOR_LIST(ROW) \
 *			ROW(COLOR_RED, "red") \
 *			ROW(COLOR_BLUE, "blue")
 *
 *		typedef enum Color {COLOR_LIST(LIST_MEMBER)} Color;
 *		#define COLORS LIST_COUNT(COLOR_LIST)
 *
 *		const char *const color_names[COLORS] = {COLOR_LIST(LIST_WORD)};
 *
 * A row may have more than a word; LIST_ROW then makes the member's struct of
 * it.
 */
#pragma once

#define LIST_MEMBER(member, ...)	member,
#define LIST_WORD(member, word)		[member] = word,
#define LIST_ROW(member, ...)		[member] = {__VA_ARGS__},
#define LIST_ONE(...)				+ 1
#define LIST_COUNT(LIST)			(0 LIST(LIST_ONE))

/* All words of a list in one text, a constant, with commas between them. */
#define LIST_COMMA(member, word, ...)	", " word
#define LIST_TEXT(LIST)				(&("" LIST(LIST_COMMA))[2])

/* The words of a set, by member; NULL where a member has none. */
typedef struct Words
{
	int			n;
	const char *const *names;
} Words;

/* Defines the words of a set whose rows are a member and its word. */
#define DEFINE_WORDS(words, LIST) \
	static const char *const words##_of_members[] = {LIST(LIST_WORD)}; \
	const Words words = {lengthof(words##_of_members), words##_of_members}

extern int	words_find(const Words *words, const char *name);
extern char *words_text(const Words *words);
