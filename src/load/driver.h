/*
 * driver.h
 *		A session of the coordinator with one driver, which takes its orders and says
 *		what came of them.
 */
#pragma once

#include "load/drive_report.h"
#include "load/session.h"

/* How long a driver may be silent, before it is lost; and how long its coordinator, there. */
#define DRIVER_SILENCE_MS		3000
#define COORDINATOR_SILENCE_MS	4000

/* It is asked at least that often. */
#define DRIVER_REST_MS			200

/* A call of it waits that long for what was ordered. */
#define DRIVER_CALL_MS			50

/* Statements that wait until they are sent, at the most. */
#define DRIVER_QUEUE			32

typedef enum DriverState
{
	DRIVER_CONNECTING,
	DRIVER_READY,
	DRIVER_LOST					/* driver->failure says why */
} DriverState;

/* In the order in which the driver carries them out. */
typedef struct DriverOrder
{
	bool		enough;			/* no client of its crowd retries */
	bool		cancel;			/* what waits for a connection */
	int			release;		/* so many connections */
	int			acquire;		/* so many more ... */
	uint64		at_us;			/* ... at that moment, by the driver's clock; 0 = at once */
} DriverOrder;

typedef struct Driver Driver;

/* They run inside the loop: they must not throw. */
typedef struct DriverEvents
{
	/* It has said what came of all that was sent: see driver->report. */
	void		(*heard) (Driver *driver);
	void		(*lost) (Driver *driver);
} DriverEvents;

struct Driver
{
	Session		session;		/* must be first */
	Loop	   *loop;
	const char *name;			/* of its foreign server */
	const char *function;		/* pool_exhaust_drive() there, with its schema */
	DriverState state;
	ConnectResult failure;
	uint64		asked_us;		/* when it was asked what it has not answered yet; 0 = all is answered */
	uint64		sent_us;		/* the same of the last question ... */
	uint64		answered_us;	/* ... and when its answer came */
	PGresult   *answer;			/* to driver_ask(), until the next one */

	/* Once it drives. */
	const DriverEvents *events;
	void	   *owner;
	DriverOrder order;			/* not sent yet */
	const char *queue[DRIVER_QUEUE];	/* likewise, statements that answer like pool_exhaust_drive(); they go first */
	int			nqueue;
	bool		plays;			/* clients of a load: it is asked all the time */
	const PGresult *rows;		/* of the report, while events->heard() reads it */
	DriveReport report;			/* the last one */
	uv_timer_t	rest;			/* until it is asked again */

	/* Its clock, by the coordinator's: see drivers.c. */
	int64		offset_us;
	uint64		trip_us;		/* of the ping that said so */
	int64		began_us;		/* what all began at one moment, by the coordinator's clock; 0 = not yet */

	/* Its share of the pool, as far as it is known here. */
	int			most;			/* connections that it may have */
	int			held;			/* but for those it is to release */
	int			wanted;			/* or ordered, and not ended */
	uint64		wanted_us;		/* for so long it had something to do ... */
	uint64		busy_us;		/* ... and since then it has; 0 = nothing */
	uint64		refused;		/* all that it was; the same of the next two */
	uint64		granted;
	Histogram	waits;
};

extern void driver_open(Driver *driver, Loop *loop, const Login *login, int timeout_ms);
extern void driver_ask(Driver *driver, const char *sql);
extern void driver_begin(Driver *driver, const DriverEvents *events, void *owner);
extern void driver_queue(Driver *driver, const char *sql);
extern void driver_send(Driver *driver);
extern void driver_give_up(Driver *driver);
extern void driver_close(Driver *driver);
