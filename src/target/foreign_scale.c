/*
 * foreign_scale.c
 *		What the sessions of a run at a foreign server take of this machine.
 */
#include "postgres.h"

#include "event/machine.h"
#include "load/crowd.h"
#include "scenario/hold.h"
#include "scenario/list.h"
#include "target/foreign.h"
#include "target/server_pool.h"
#include "target/target.h"

/*
 * Returns how many sessions there may be at once, of a hold or where "left" are left to
 * be had: those that are to be refused or under way included, and those of an
 * application beside them.
 */
int
foreign_sessions(const RunRequest *request, const Options *options, int left)
{
	int			spare = (int) (options->handshakes + options->attempts + options->pool_size + options->max_overflow);
	int			held = Max(left, 0);

	if (request_is_hold(request))
		return hold_sessions(&request->hold) + (int) options->handshakes;
	if (options->clients > 0)
		held = (int) Min(held, options->clients);
	if (request->held_max > 0)
		held = Min(held, request->held_max);
	return Min(held, MAX_BACKENDS) + spare;
}

static ScaleNeed
need_of(const TargetType *target, const Endpoint *endpoint, int handshakes, int sessions)
{
	const Login *login = &endpoint->login;
	const char *sslmode = login_value(login, "sslmode");

	return (ScaleNeed)
	{
		.sessions = sessions,
		.addresses = endpoint->addresses,
		.tls = endpoint->addresses > 0 && sslmode != NULL && strcmp(sslmode, "disable") != 0,
		.pooler = target->counts_itself,
		.password = login_value(login, "password") != NULL,
		.handshakes = foreign_is_here(endpoint->hosts) ? handshakes : 0,
	};
}

/*
 * Returns how many of these each driver may have: its share, and what is to be refused or
 * under way.  Of a crowd the clients are shared out, and those of one driver may be the
 * faster ones.
 */
int
foreign_share(const Scenario *scenario, const Options *options, int sessions)
{
	int			n = (int) options->drivers.n;
	int64		clients = options->clients > 0 ? options->clients : sessions * INT64CONST(1) * CROWD_PERCENT / 100 + 1;
	int64		share = scenario->crowd ? Min(clients / n + 1, sessions) : sessions / n;

	return (int) Min(share + options->handshakes + 1, FOREIGN_CLIENTS_MAX);
}

/* ERROR, with the numbers, if this machine, which drives, has not what its share takes.  It goes to the first address. */
void
foreign_share_require(const RunRequest *request, const Endpoint *endpoint, int handshakes, int sessions)
{
	ScaleNeed	need = need_of(target_types[request->target], endpoint, handshakes, sessions);

	need.addresses = Min(need.addresses, 1);
	machine_require("driver", &need);
}

/*
 * Fills in what the sessions of the request take, of the runner or of each driver; returns
 * whether it is known how many they are, before the server is asked: none are counted if not.
 */
bool
foreign_scale_need(const RunRequest *request, const Options *options, const Endpoint *endpoint, ScaleNeed *need)
{
	bool		known = endpoint->hosts != NIL && (request_is_hold(request) || endpoint->capacity > 0);

	*need = need_of(target_types[request->target], endpoint, (int) options->handshakes, known ? foreign_sessions(request, options, endpoint->capacity) : 0);
	if (options->drivers.n > 0)
		need->addresses = Min(need->addresses, 1);
	if (options->drivers.n > 0 && known)
		need->sessions = foreign_share(scenario_find(request->scenario), options, need->sessions);
	return known;
}

/*
 * Ends the run as invalid, with the numbers, if this machine has not what so many
 * sessions of the party take: nothing but logins to ask has been opened then.
 */
void
foreign_scale_require(Run *run, const RunParty *party, int sessions)
{
	ScaleNeed	need = need_of(run->target, party->endpoint, (int) run->options.handshakes, sessions);
	ScaleRoom	room;
	ScaleLimit	limit;
	char		text[SCALE_TEXT_LEN];

	machine_read(&room);
	limit = scale_short(&need, &room);
	if (limit != SCALE_FITS)
		run_end(run, VERDICT_INVALID, "with %d connections to %s the run needs %s: %s", sessions, run->request.target_name,
				scale_text(text, sizeof(text), limit, &need, &room), scale_help(limit));
}
