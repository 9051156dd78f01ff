/*
 * driver.c
 *		A session of the coordinator with one driver.
 *
 * An order is a call of pool_exhaust_drive() there, or of one of its kind, which says
 * what came of it and of those before.  While connections are wanted, or clients play, it
 * is called again and again, and else every DRIVER_REST_MS: so each side notices when the
 * other is gone.  Orders that come while a call is under way are sent together with the
 * next one.
 */
#include "postgres.h"

#include "load/driver.h"

static void
driver_fail(Driver *driver, const ConnectResult *failure)
{
	driver->state = DRIVER_LOST;
	driver->asked_us = 0;
	driver->failure = *failure;
	if (driver->events != NULL)
		driver->events->lost(driver);
}

static void
driver_connected(Session *session, const ConnectResult *result)
{
	Driver	   *driver = (Driver *) session;

	if (result->end == CONNECT_GRANTED)
		driver->state = DRIVER_READY;
	else
		driver_fail(driver, result);
}

static void
driver_session_lost(Session *session)
{
	ConnectResult failure;

	session_failure(session, &failure);
	session_close(session);
	driver_fail((Driver *) session, &failure);
}

static const SessionEvents driver_session_events = {
	.connected = driver_connected,
	.lost = driver_session_lost,
};

/* Begins to log in; driver->state says how far it is.  The login must live as long. */
void
driver_open(Driver *driver, Loop *loop, const Login *login, int timeout_ms)
{
	driver->loop = loop;
	driver->state = DRIVER_CONNECTING;
	driver->session.spared = true;
	driver->session.keeps_rows = true;
	uv_timer_init(&loop->uv, &driver->rest);
	driver->rest.data = driver;
	session_open(&driver->session, loop, login, timeout_ms, &driver_session_events, driver);
}

/* The driver has said no: its sentence, and what it says to do about it. */
static void
driver_refuses(Driver *driver, const QueryResult *result)
{
	ConnectResult failure = {CONNECT_DENIED, CAUSE_NONE};
	const char *hint = PQresultErrorField(result->rows, PG_DIAG_MESSAGE_HINT);

	strlcpy(failure.sqlstate, result->sqlstate, sizeof(failure.sqlstate));
	snprintf(failure.message, MESSAGE_LEN, "%s%s%s", result->message, hint != NULL ? "; " : "", hint != NULL ? hint : "");
	session_close(&driver->session);
	driver_fail(driver, &failure);
}

static void
driver_answered(void *arg, const QueryResult *result)
{
	Driver	   *driver = arg;

	driver->asked_us = 0;
	driver->answered_us = loop_now_us();
	if (result->ok)
		driver->answer = PQcopyResult(result->rows, PG_COPYRES_ATTRS | PG_COPYRES_TUPLES);
	else
		driver_refuses(driver, result);
}

static void
driver_query(Driver *driver, const char *sql, QueryDone done)
{
	driver->asked_us = driver->sent_us = loop_now_us();
	session_query(&driver->session, sql, 0, done, driver);
}

/*
 * Asks a driver that does not drive yet; the answer is there when asked_us is 0 again.  One
 * that has been lost meanwhile is not asked.
 */
void
driver_ask(Driver *driver, const char *sql)
{
	PQclear(driver->answer);
	driver->answer = NULL;
	if (driver->state != DRIVER_READY)
		return;
	driver_query(driver, sql, driver_answered);
}

/* ---------- Orders ---------- */

static void
driver_rested(uv_timer_t *timer)
{
	driver_send(timer->data);
}

/* Keeps account of how long it has had something to do. */
static void
driver_meter(Driver *driver)
{
	uint64		now_us = loop_now_us();

	if (driver->busy_us != 0)
		driver->wanted_us += now_us - driver->busy_us;
	driver->busy_us = driver->wanted > 0 || driver->plays ? now_us : 0;
}

static void
driver_reported(void *arg, const QueryResult *result)
{
	static const ConnectResult no_report = {CONNECT_DENIED, CAUSE_NONE, .message = "its answer is none of pool_exhaust_drive()"};
	Driver	   *driver = arg;

	driver->asked_us = 0;
	if (!result->ok)
	{
		driver_refuses(driver, result);
		return;
	}
	if (!drive_report_read(&driver->report, result->rows))
	{
		session_close(&driver->session);
		driver_fail(driver, &no_report);
		return;
	}
	driver->rows = result->rows;
	driver->events->heard(driver);
	driver->rows = NULL;
	driver_meter(driver);
	if (driver->asked_us != 0)
		return;
	if (driver->wanted > 0 || driver->plays || driver->nqueue > 0 || driver->order.release > 0 || driver->order.cancel ||
		driver->order.enough)
		driver_send(driver);
	else
		uv_timer_start(&driver->rest, driver_rested, DRIVER_REST_MS, 0);
}

/* Sends the first statement of its queue, which must not be empty. */
static void
driver_send_queued(Driver *driver)
{
	const char *first = driver->queue[0];

	memmove(driver->queue, driver->queue + 1, sizeof(char *) * --driver->nqueue);
	driver_query(driver, first, driver_reported);
}

/* It is carried out at once, and says what pool_exhaust_drive() says. */
static void
driver_send_enough(Driver *driver)
{
	char		sql[256];

	snprintf(sql, sizeof(sql), "SELECT * FROM %s_crowd('enough', 0, 0, 0, 0)", driver->function);
	driver->order.enough = false;
	driver_query(driver, sql, driver_reported);
}

/* Sends what is ordered, now or when the call that is under way is over. */
void
driver_send(Driver *driver)
{
	const DriverOrder *order = &driver->order;
	char		sql[512];

	driver_meter(driver);
	if (driver->state != DRIVER_READY || driver->asked_us != 0)
		return;
	uv_timer_stop(&driver->rest);
	if (driver->nqueue > 0)
	{
		driver_send_queued(driver);
		return;
	}
	if (order->enough)
	{
		driver_send_enough(driver);
		return;
	}
	snprintf(sql, sizeof(sql), "SELECT * FROM %s(%d, %d, %s, " UINT64_FORMAT ", %d)", driver->function,
			 order->acquire, order->release, order->cancel ? "true" : "false", order->at_us, DRIVER_CALL_MS);
	driver->order = (DriverOrder) {0};
	driver_query(driver, sql, driver_reported);
}

/* Has it run a statement that answers like pool_exhaust_drive(); the text must live as long as the driver. */
void
driver_queue(Driver *driver, const char *sql)
{
	if (driver->nqueue >= DRIVER_QUEUE)
		elog(ERROR, "a driver is to do more than %d things at once", DRIVER_QUEUE);
	driver->queue[driver->nqueue++] = sql;
	driver_send(driver);
}

/* From now on it drives: it takes orders, and is asked from time to time. */
void
driver_begin(Driver *driver, const DriverEvents *events, void *owner)
{
	driver->events = events;
	driver->owner = owner;
	driver_send(driver);
}

/* It is silent for too long: it is lost. */
void
driver_give_up(Driver *driver)
{
	ConnectResult failure = {CONNECT_TIMED_OUT, CAUSE_NONE, .message = "no answer in time"};

	session_close(&driver->session);
	driver_fail(driver, &failure);
}

/* Logs out: so the driver lets go of all that it holds.  May be called twice. */
void
driver_close(Driver *driver)
{
	driver->events = NULL;
	if (driver->loop == NULL)
		return;
	uv_timer_stop(&driver->rest);
	session_close(&driver->session);
	PQclear(driver->answer);
	driver->answer = NULL;
}
