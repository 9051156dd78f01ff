/*
 * option_words.h
 *		The options whose values are words, and their words.
 */
#pragma once

#include "base/words.h"

/* How long a run takes, and how much it does. */
#define PROFILE_LIST(ROW) \
	ROW(PROFILE_QUICK, "quick") \
	ROW(PROFILE_STANDARD, "standard") \
	ROW(PROFILE_SOAK, "soak")

typedef enum Profile
{
	PROFILE_LIST(LIST_MEMBER)
} Profile;

#define PROFILES LIST_COUNT(PROFILE_LIST)

/* What to do about client sessions of other roles while the server is filled. */
#define BYSTANDERS_LIST(ROW) \
	ROW(BYSTANDERS_REFUSE, "refuse") \
	ROW(BYSTANDERS_ABORT, "abort") \
	ROW(BYSTANDERS_IGNORE, "ignore")

typedef enum Bystanders
{
	BYSTANDERS_LIST(LIST_MEMBER)
} Bystanders;

/* What a verdict other than pass is to the caller. */
#define ON_FAIL_LIST(ROW) \
	ROW(ON_FAIL_REPORT, "report") \
	ROW(ON_FAIL_ERROR, "error")

typedef enum OnFail
{
	ON_FAIL_LIST(LIST_MEMBER)
} OnFail;

/* Deliberate faults, each of which must break the verdict. */
#define FAULT_LIST(ROW) \
	ROW(FAULT_NONE, "none") \
	ROW(FAULT_KEEP_SLOT, "keep_slot")	/* one slot is kept back from the fill */ \
	ROW(FAULT_MISCOUNT, "miscount")		/* one refusal is counted twice */ \
	ROW(FAULT_NO_LIMIT, "no_limit")		/* the pool is never full: nothing is refused */ \
	ROW(FAULT_LEAVE_SESSION, "leave_session")	/* the release leaves one session */ \
	ROW(FAULT_MISS_HEALTH, "miss_health")	/* the monitor's warning is missed */ \
	ROW(FAULT_LIFO, "lifo")				/* the newest waiter is served first */ \
	ROW(FAULT_IGNORE_TIMEOUT, "ignore_timeout") /* waiters wait for ever */ \
	ROW(FAULT_EARLY_TIMEOUT, "early_timeout")	/* they time out at half their time */ \
	ROW(FAULT_LOST_WAKEUP, "lost_wakeup")	/* one waiter is forgotten */ \
	ROW(FAULT_LEAK_ON_ERROR, "leak_on_error")	/* a failed operation keeps its connection */ \
	ROW(FAULT_SHARED_BETWEEN_SERVICES, "shared_between_services")	/* one pool for both */ \
	ROW(FAULT_SLOW_GRANT, "slow_grant") /* grants come later than the limit of latency */ \
	ROW(FAULT_MISS_LEAK, "miss_leak")	/* one of the leaks is none, so no rule can find it */ \
	ROW(FAULT_ACCUSE, "accuse")			/* a healthy session is like a leak */ \
	ROW(FAULT_NEVER_HEAL, "never_heal") /* the healer is not asked to */ \
	ROW(FAULT_HTTP_500, "http_500")		/* the reference API: a refusal is a 500 */ \
	ROW(FAULT_HTTP_NO_RETRY_AFTER, "http_no_retry_after")	/* it has no Retry-After */ \
	ROW(FAULT_HTTP_HANG, "http_hang")	/* one request gets no answer */ \
	ROW(FAULT_HTTP_HTML_ERROR, "http_html_error")	/* errors are pages of HTML */ \
	ROW(FAULT_LIVENESS_DOWN, "liveness_down")	/* it is not live while its pool is full */ \
	ROW(FAULT_HTTP_RETRY_TOO_SOON, "http_retry_too_soon")	/* a retry after Retry-After is refused */

typedef enum Fault
{
	FAULT_LIST(LIST_MEMBER)
} Fault;

/* May a hold take slots that are reserved? */
#define RESERVED_LIST(ROW) \
	ROW(RESERVED_KEEP, "keep") \
	ROW(RESERVED_TAKE, "take")

typedef enum Reserved
{
	RESERVED_LIST(LIST_MEMBER)
} Reserved;

/* Which of its idle connections a pool hands out first: the one last used, or first. */
#define IDLE_ORDER_LIST(ROW) \
	ROW(IDLE_LIFO, "lifo") \
	ROW(IDLE_FIFO, "fifo")

typedef enum IdleOrder
{
	IDLE_ORDER_LIST(LIST_MEMBER)
} IdleOrder;

/* When the clients of an open-loop load come; see load/arrival.c. */
#define ARRIVAL_LIST(ROW) \
	ROW(ARRIVAL_POISSON, "poisson") \
	ROW(ARRIVAL_CONSTANT, "constant") \
	ROW(ARRIVAL_RAMP, "ramp") \
	ROW(ARRIVAL_BURST, "burst")

typedef enum ArrivalKind
{
	ARRIVAL_LIST(LIST_MEMBER)
} ArrivalKind;

/* Each is named after its option. */
extern const Words profile_words;
extern const Words bystanders_words;
extern const Words on_fail_words;
extern const Words fault_words;
extern const Words reserved_words;
extern const Words idle_order_words;
extern const Words arrivals_words;
