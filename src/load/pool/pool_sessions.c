/*
 * pool_sessions.c
 *		What the drivers of pools have in common.
 */
#include "postgres.h"

#include "load/pool/pool_sessions.h"

/*
 * Returns an array of n members of "size" bytes, zeroed, in the current memory
 * context; each begins with a Session, which is put into "unused".
 */
void *
pool_make_sessions(int n, Size size, const SessionEvents *events, void *owner, dlist_head *unused)
{
	char	   *members = palloc_extended(size * n, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);

	dlist_init(unused);
	for (int i = 0; i < n; i++)
	{
		Session    *session = (Session *) (members + i * size);

		session->events = events;
		session->owner = owner;
		dlist_push_tail(unused, &session->node);
	}
	return members;
}

/* Ends all requests of this list, which count as wanted, as canceled. */
void
pool_cancel_requests(Pool *pool, dlist_head *requests)
{
	while (!dlist_is_empty(requests))
	{
		Request    *request = dlist_container(Request, node, dlist_pop_head_node(requests));

		pool->stats.wanted--;
		request->events->ended(request, ACQUIRE_CANCELED);
	}
}

/*
 * The connection of a granted request has died; "failure" says how, NULL leaves
 * the pool's last failure as it is.  The driver has closed the session by then.
 */
void
pool_lose(Request *request, const ConnectResult *failure)
{
	Pool	   *pool = request->pool;

	pool->stats.lost++;
	if (failure != NULL)
		pool->last_failure = *failure;
	request->session = NULL;
	request->events->lost(request);
}
