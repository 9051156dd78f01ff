/*
 * import_csv.c
 *		Services as CSV (RFC 4180): the first line names columns of pool_exhaust_declared.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "advise/budget/import.h"
#include "base/text.h"

typedef struct Csv
{
	const char *at;
	int			line;
	bool		row_ended;		/* with the last field */
	StringInfoData field;
} Csv;

static char *
where_line(int line)
{
	return psprintf("line %d", line);
}

/* Reads a field in quotes, which it stands at; a quote in it is doubled. */
static void
read_quoted(Csv *csv)
{
	int			begun = csv->line;

	for (csv->at++; csv->at[0] != '"' || csv->at[1] == '"'; csv->at++)
	{
		if (*csv->at == '\0')
			import_error(where_line(begun), "a quote begins there and does not end", "Close it, or double the quotes in the field.");
		csv->line += *csv->at == '\n';
		csv->at += *csv->at == '"';
		appendStringInfoChar(&csv->field, *csv->at);
	}
	csv->at++;
	if (strchr(",\r\n", *csv->at) == NULL)
		import_error(where_line(csv->line), "something follows a closing quote", "Double the quotes in a field.");
}

/* Reads the next field and what ends it; the text is good until the next call. */
static const char *
read_field(Csv *csv)
{
	resetStringInfo(&csv->field);
	if (*csv->at == '"')
		read_quoted(csv);
	else
		while (strchr(",\r\n", *csv->at) == NULL)
			appendStringInfoChar(&csv->field, *csv->at++);
	csv->row_ended = *csv->at != ',';
	if (csv->at[0] == '\r' && csv->at[1] == '\n')
		csv->at++;
	if (*csv->at != '\0')
		csv->at++;
	return csv->field.data;
}

/* Reads the first line; returns how many columns it has, which go to "columns". */
static int
read_header(Csv *csv, DeclaredColumn *columns)
{
	int			n = 0;

	csv->row_ended = false;
	while (!csv->row_ended)
	{
		const char *name = read_field(csv);
		int			column = declared_column_find(name);

		if (column < 0)
			import_error("line 1", psprintf("there is no column \"%s\"", text_printable(text_cut(name, 60))),
						 psprintf("Columns are: %s.", declared_columns_text()));
		for (int i = 0; i < n; i++)
			if (columns[i] == column)
				import_error("line 1", psprintf("column \"%s\" is there twice", name), "Leave one of them out.");
		columns[n++] = column;
	}
	return n;
}

static void
read_row(Import *import, Csv *csv, const DeclaredColumn *columns, int ncolumns)
{
	ImportedService service = {{NULL}};
	char	   *where = where_line(csv->line);
	int			n = 0;

	CHECK_FOR_INTERRUPTS();
	for (csv->row_ended = false; !csv->row_ended; n++)
	{
		const char *text = read_field(csv);

		if (n < ncolumns && text[0] != '\0')
			import_value(&service, columns[n], text, where);
	}
	if (n != ncolumns)
		import_error(where, psprintf("it has %s fields than line 1", n < ncolumns ? "fewer" : "more"), "Give each service a field a column.");
	import_service(import, &service, where);
}

static void
csv_parse(Import *import)
{
	Csv			csv = {.at = import->document, .line = 1};
	DeclaredColumn columns[DECLARED_COLUMNS];
	int			ncolumns;

	initStringInfo(&csv.field);
	if (strncmp(csv.at, "\xef\xbb\xbf", 3) == 0)
		csv.at += 3;
	ncolumns = read_header(&csv, columns);
	for (csv.line = 2; *csv.at != '\0'; csv.line++)
	{
		if (*csv.at == '\n' || (csv.at[0] == '\r' && csv.at[1] == '\n'))
			csv.at += strcspn(csv.at, "\n") + 1;
		else
			read_row(import, &csv, columns, ncolumns);
	}
}

const ImportKind import_kind_csv = {
	.name = "csv",
	.parse = csv_parse,
};
