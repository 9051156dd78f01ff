/*
 * pool_drivers.h
 *		A pool whose connections are held by drivers, on other machines.
 */
#pragma once

#include "load/driver.h"
#include "load/pool/pool.h"
#include "load/target/probe.h"

typedef struct DriversPoolConfig
{
	const PoolType *kind;		/* as which pools and reports show it */
	bool		shared;			/* what clients of PgBouncer share, and wait for */
	Loop	   *loop;
	struct Probe *probe;		/* of a target that can be asked, or NULL ... */
	int			capacity;		/* ... and what it is said to have then */
	Driver	   *drivers;
	int			n;
	DriveReport *before;		/* of the pool: the last report of each that is added up */
} DriversPoolConfig;

extern Pool *pool_open_drivers(const DriversPoolConfig *config);
extern uint64 pool_drivers_absent_us(const Pool *pool);
