/*
 * recorder_file.h
 *		The recorder's file, as the monitor writes it: a ring of blocks.
 */
#pragma once

#include "observe/recorder/file.h"

typedef struct RecorderFile
{
	int			fd;				/* -1: it is not open */
	bool		moved;			/* found at open: another machine or data directory wrote it */
	int			nplaces;		/* blocks that it may have */
	int			n;				/* and has */
	int			room;			/* places that "blocks" has room for */
	RecordedBlock *blocks;		/* by place */
	int			place;			/* of the block that is written to; sequence 0: none is */
	uint64		sequence;
	uint32		at;				/* where the next frame goes */
	bool		ill;			/* a second of that block is part of an incident */
	FrameState	state;			/* after the last frame */
} RecorderFile;

/* Why something could not be done; errno says the rest. */
typedef struct RecorderError
{
	const char *what;			/* "could not ... file \"%s\"" */
	int			code;
} RecorderError;

/* So many blocks fit into a file of that size. */
extern int	recorder_places(int size_mb);

/*
 * Opens the file, or makes it, and finds the last second that is in it: that stands in
 * "state", at_ms 0 if there is none.  One that is not ours is put aside.
 */
extern bool recorder_file_open(RecorderFile *file, int size_mb, RecorderError *error);
extern bool recorder_file_append(RecorderFile *file, const RecordedSecond *second, int64 gap_ms, RecorderError *error);

/* Does some of what is to be done where the file may have fewer blocks than it has. */
extern void recorder_file_shrink(RecorderFile *file);

/* Is it the file that is found there, as long as it should be? */
extern bool recorder_file_is_there(const RecorderFile *file);
extern void recorder_file_close(RecorderFile *file);
