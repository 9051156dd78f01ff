/*
 * drive_crowd.h
 *		What a driver says of its share of a crowd.
 *
 * All of it is of the wave under way, and said anew in each report.
 */
#pragma once

#include "libpq-fe.h"
#include "load/crowd.h"
#include "load/drive_report.h"

#define CROWD_NUMBERS(NUMBER) \
	NUMBER(wave) \
	NUMBER(connected) \
	NUMBER(stopped) \
	NUMBER(cut_off) \
	NUMBER(unanswered) \
	NUMBER(granted_us) \
	NUMBER(attempts) \
	NUMBER(slowest_us)

#define CROWD_NUMBER_FIELD(name) int64 name;

typedef struct DriveCrowd
{
	CROWD_NUMBERS(CROWD_NUMBER_FIELD)
	int64		refused;		/* see crowd_refused() */
	uint64		ended[ACQUIRE_CANCELED + 1];
	uint32		granted_in[CROWD_WINDOWS];
} DriveCrowd;

extern void drive_crowd_write(const Crowd *crowd, DriveRowPut put, void *arg);
extern void drive_crowd_read(const PGresult *rows, DriveCrowd *said);
