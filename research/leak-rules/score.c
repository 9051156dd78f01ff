/*
 * score.c
 *		Replays one workload through the rules, and scores them.
 */
#include "score.h"

/* The definition of an abandoned session, where the truth is known. */
#define HOLDS_ENOUGH	10			/* observations */
#define USES_ENOUGH		3

static LeakWatch *watch;
static Task *task;

LeakWatch *
watch_new(int nslots)
{
	LeakWatch  *new = calloc(1, sizeof(LeakWatch));

	new->nslots = nslots;
	new->ngroups = leak_groups_max(nslots);
	new->sessions = calloc(nslots, sizeof(LeakSession));
	new->noted = calloc(nslots, sizeof(LeakNoted));
	new->group_of = calloc(nslots, sizeof(int));
	new->counts = calloc(LEAK_RULES, sizeof(LeakCounts));
	new->groups = calloc(new->ngroups, sizeof(LeakGroup));
	new->starts = calloc(2 * nslots, sizeof(uint64));
	new->losses = calloc(nslots, sizeof(LeftSession));
	new->openings = calloc(nslots, sizeof(LeakOpening));
	new->growth_min = leak_growth_min(nslots);
	return new;
}

void
watch_clear(LeakWatch *of)
{
	memset(of->sessions, 0, sizeof(LeakSession) * of->nslots);
	memset(of->counts, 0, sizeof(LeakCounts) * LEAK_RULES);
	memset(of->groups, 0, sizeof(LeakGroup) * of->ngroups);
	of->taken = 0;
	of->observed_us = of->before_us = 0;
}

static double
seconds(uint64 at_us)
{
	return ((double) at_us - (double) HOUR) / SECOND;
}

static uint64
threshold_us(void)
{
	return (uint64) world.threshold_ms * MS;
}

static Note *
note_new(NoteKind kind, const Session *session, LeakRule rule)
{
	Score	   *score = &task->score;
	Note	   *note = &score->notes[score->nnotes];

	if (score->nnotes == NOTES)
	{
		score->lost[kind]++;
		return NULL;
	}
	score->nnotes++;
	*note = (Note)
	{
		.kind = kind, .rule = rule, .what = session->what, .pid = session->pid,
		.seed = task->seed, .opened_s = seconds(session->opened_us), .uses = session->uses,
		.after_s = -1
	};
	return note;
}

/* ---------- When is it a leak? ---------- */

/* Opened since this one was used last, and kept in use. */
static bool
is_newer(const Session *session, const Session *leak)
{
	return session->pid != 0 && session->visible && session->service == leak->service &&
		session->opened_us > leak->leaked_us && session->leak == LEAK_NONE && !session->needless &&
		session->observations_used >= USES_ENOUGH &&
		(session->state != SLOT_IDLE || session->since_us + 2 * threshold_us() > world.now_us);
}

/* Its service has come back to others after half as long, or closed them. */
static bool
may_come_back(const Session *leak)
{
	return leak->service->active_us < leak->active_us + 2 * leak->service->longest_rest_us;
}

/* Idle for half the threshold, and no leak, or this very one. */
static bool
is_idle_like(const Session *session, const Session *leak)
{
	return session->pid != 0 && session->visible && session->service == leak->service &&
		session->state == SLOT_IDLE && !session->listens && !session->locks &&
		session->found == LEAK_NONE &&
		world.now_us > session->since_us + threshold_us() / 2;
}

/* Was one that was there before it was leaked used later? */
static bool
was_there(const Session *session, const Session *leak)
{
	return session->pid != 0 && session->visible && session->service == leak->service &&
		session->leak == LEAK_NONE && session->opened_us < leak->leaked_us &&
		session->since_us > leak->leaked_us + threshold_us() / 2;
}

/*
 * It was not used again, and its service has replaced it: not counting leaks, it
 * has more sessions than when this one was used last, and uses those; many of
 * them, measured by how many lie idle like this one, and none that was opened for
 * other reasons, as a reserve is; and sessions that were there before it go on, so it was no
 * instance that has ended.  That is a leak only where one pool makes up the service: of several, one may have no traffic any more, as
 * the old one of a blue-green deployment.
 */
static bool
abandoned_holds(Session *leak)
{
	int			newer = 0;
	int			idle = 0;

	if (leak->service->processes > 1 || world.now_us < leak->leaked_us + threshold_us() ||
		leak->service->sessions - leak->service->lost <= leak->others_then || may_come_back(leak))
		return false;
	for (int i = 0; i < world.nslots; i++)
	{
		newer += is_newer(&world.sessions[i], leak);
		idle += is_idle_like(&world.sessions[i], leak);
		leak->outlived |= was_there(&world.sessions[i], leak);
	}
	return leak->outlived && newer >= Max(3, 2 * idle);
}

/* So long after its process vanished no host comes back, and none would take so long to drain one. */
static bool
vanished_holds(const Session *leak)
{
	return world.now_us >= leak->leaked_us + LEAK_DRAIN_FACTOR * threshold_us() && !may_come_back(leak);
}

/*
 * As many are there, forgotten on different occasions, as are a growth on this
 * server.  With fewer it could be workers that connect at their first request.
 */
static bool
growth_holds(const Session *leak)
{
	return leak->service->occasions >= leak_growth_min(SLOTS) &&
		world.now_us >= leak->leaked_us + threshold_us() && !may_come_back(leak);
}

static bool
definition_holds(Session *leak)
{
	switch (leak->leak)
	{
		case LEAK_BORROWED:
		case LEAK_IDLE_IN_TRANSACTION:
			return world.now_us >= leak->leaked_us + threshold_us();
		case LEAK_DEAD_CLIENT:
			return world.now_us >= leak->since_us + threshold_us();
		case LEAK_ABANDONED:
			return leak->vanished ? vanished_holds(leak) : abandoned_holds(leak);
		case LEAK_GROWTH:
			return growth_holds(leak);
		default:
			return false;
	}
}

/*
 * The first two are known to the microsecond; the others since this observation, and
 * to the rules not before it.  Nor is anything while they are blind.
 */
static uint64
due_since(const Session *leak)
{
	if (world.now_us < world.blind_until_us + task->interval_ms * MS * 2)
		return world.now_us;
	if (leak->leak == LEAK_IDLE_IN_TRANSACTION || leak->leak == LEAK_BORROWED)
		return leak->leaked_us + threshold_us();
	if (leak->leak == LEAK_DEAD_CLIENT)
		return Max(leak->leaked_us, leak->since_us + threshold_us());
	return world.now_us;
}

/* ---------- What was found ---------- */

static void
score_alarm(Session *session, const LeakSession *seen)
{
	RuleScore  *score = &task->score.rules[seen->rule];
	Note	   *note;

	if (session->alarms & (1 << seen->rule))
		return;
	session->alarms |= 1 << seen->rule;

	/* Sessions that are idle in transaction for so long are what was asked for. */
	session->held |= seen->rule == LEAK_IDLE_IN_TRANSACTION &&
		session->state == SLOT_IDLE_IN_TRANSACTION &&
		world.now_us > session->since_us + threshold_us();
	if (session->held)
		score->held++;
	else
		score->false_alarms++;
	note = note_new(session->held ? NOTE_HELD : NOTE_ALARM, session, seen->rule);
	if (note == NULL)
		return;
	session->alarm = note - task->score.notes;
	note->at_s = seconds(world.now_us);
	note->idle_s = (double) (world.now_us - session->since_us) / SECOND;
	note->evidence = seen->evidence;
}

static void
score_found(Session *session, const LeakSession *seen)
{
	RuleScore  *score = &task->score.rules[session->leak];
	double		delay_s;
	Note	   *note;

	session->found = seen->rule;
	if (session->due_us == 0)
		return;
	delay_s = ((double) world.now_us - (double) session->due_us) / SECOND;
	score->delay_s = Max(score->delay_s, delay_s);
	if (delay_s <= 2 * task->interval_ms / 1e3)
		return;
	score->late++;
	note = note_new(NOTE_LATE, session, session->leak);
	if (note == NULL)
		return;
	note->found = seen->rule;
	note->at_s = seconds(session->leaked_us);
	note->idle_s = delay_s;
	note->evidence = seen->evidence;
}

/* An alarm was about a session that did this later. */
static void
score_used(Session *session, bool closed)
{
	Note	   *note = &task->score.notes[session->alarm];

	note->after_s = seconds(closed ? world.now_us : session->since_us) - note->at_s;
	note->closed = closed;
	session->alarm = -1;
}

static void
score_missed(const Session *session)
{
	Note	   *note = note_new(NOTE_MISS, session, session->leak);

	if (note == NULL)
		return;
	note->at_s = seconds(session->leaked_us);
	note->idle_s = (double) (world.now_us - session->due_us) / SECOND;
	note->rest_s = (double) session->service->longest_rest_us / SECOND;
	for (int i = 0; i < world.nslots; i++)
	{
		const Session *other = &world.sessions[i];

		if (other->pid == 0 || other->service != session->service)
			continue;
		note->newer += is_newer(other, session);
		note->idle += other->visible && other->state == SLOT_IDLE &&
			other->since_us + threshold_us() < world.now_us;
	}
	note->evidence.sessions_then = session->others_then;
	note->evidence.sessions_now = session->service->sessions - session->service->lost;
}

/* Whose definition never held could be one of a healthy service. */
static void
score_undecided(const Session *session)
{
	Doubt		doubt = DOUBT_BRIEF;

	if (world.now_us > session->leaked_us + threshold_us())
	{
		if (may_come_back(session))
			doubt = DOUBT_RESTS;
		else if (session->leak == LEAK_GROWTH)
			doubt = DOUBT_FEW;
		else if (session->leak == LEAK_ABANDONED)
			doubt = session->service->processes > 1 ? DOUBT_POOLS : DOUBT_COLD;
	}
	task->score.doubts[doubt]++;
}

/* It has rested, and its service has come back to it. */
static void
score_rest(const Session *session)
{
	Service    *service = session->service;

	if (session->leak == LEAK_NONE && session->seen_idle && session->seen_since_us != 0)
		service->longest_rest_us = Max(service->longest_rest_us, service->active_us - session->active_us);
}

/*
 * It lay idle, and is used now: those that its service opened meanwhile, up to the
 * last observation, were opened for other reasons than want of a session.
 */
static void
score_needless(const Session *session)
{
	uint64		from_us = session->seen_since_us + 50 * MS;
	uint64		to_us = world.now_us - task->interval_ms * MS;

	if (!session->seen_idle || session->leak != LEAK_NONE || session->service->newest_us <= from_us)
		return;
	for (int i = 0; i < world.nslots; i++)
	{
		Session    *other = &world.sessions[i];

		other->needless |= other->service == session->service &&
			other->opened_us > from_us && other->opened_us < to_us;
	}
}

/* While it is used its service is active. */
static void
score_active(Session *session)
{
	Service    *service = session->service;

	if (session->state == SLOT_IDLE && session->seen_since_us == session->since_us)
		return;
	if (service->active_at_us != world.now_us)
		service->active_us += task->interval_ms * MS;
	service->active_at_us = world.now_us;
	session->active_us = service->active_us;
}

/* The story of a session is over. */
static void
score_session(Session *session)
{
	RuleScore  *score = &task->score.rules[session->leak];
	uint64		patience_us = 2 * task->interval_ms * MS + SECOND;

	if (session->alarm >= 0 && world.now_us < world.end_us)
		score_used(session, true);
	if (session->leak == LEAK_NONE)
	{
		if (world.now_us < world.end_us)
			score_rest(session);
		return;
	}
	if (session->due_us == 0 || (session->found == LEAK_NONE &&
								 session->due_us + patience_us > world.now_us))
	{
		score->undecided++;
		score->undecided_found += session->found != LEAK_NONE;
		score_undecided(session);
		return;
	}
	score->leaks++;
	if (session->found == session->leak)
		score->right++;
	else if (session->found != LEAK_NONE)
	{
		score->other++;
		task->score.rules[session->found].borrowed++;
	}
	else
	{
		score->missed++;
		score_missed(session);
	}
}

/* What holds for a moment only is no definition: services churn. */
static void
score_due(Session *session)
{
	if (!definition_holds(session))
		session->holds = 0;
	else if (session->holds++ == 0)
		session->holds_us = due_since(session);
	if (session->holds >= HOLDS_ENOUGH)
		session->due_us = session->holds_us;
}

static void
score_sample(Session *session, const LeakSession *seen)
{
	if (session->seen_since_us != 0 && session->seen_since_us != session->since_us)
	{
		session->observations_used++;
		score_rest(session);
		score_needless(session);
	}
	session->service->newest_us = Max(session->service->newest_us, session->opened_us);
	score_active(session);
	session->seen_since_us = session->since_us;
	session->seen_idle = session->state == SLOT_IDLE;
	if (session->alarm >= 0 &&
		session->since_us > (uint64) ((task->score.notes[session->alarm].at_s) * SECOND) + HOUR)
		score_used(session, false);
	if (session->leak != LEAK_NONE && session->due_us == 0)
		score_due(session);
	if (seen->rule == LEAK_NONE)
		return;
	if (session->leak == LEAK_NONE)
		score_alarm(session, seen);
	else if (session->found == LEAK_NONE)
		score_found(session, seen);
}

/* ---------- Observing ---------- */

/* Is all of that as it was noted last, and idle, in a transaction or not?  So the monitor finds it in the status entry. */
static bool
is_same(const LeakObservation *observation, const LeakObservation *seen)
{
	return observation->pid == seen->pid && observation->started == seen->started && observation->state != SLOT_ACTIVE &&
		observation->state == seen->state && observation->aborted == seen->aborted && observation->state_since == seen->state_since &&
		observation->has_idle_reason == seen->has_idle_reason && observation->borrower.since == seen->borrower.since &&
		strcmp(observation->borrower.name, seen->borrower.name) == 0 && observation->service == seen->service && observation->threshold_ms == seen->threshold_ms;
}

void
watch_note(LeakWatch *of, int number, const LeakObservation *observation, uint64 now_us)
{
	if (observation != NULL && is_same(observation, &of->sessions[number].seen))
		leak_note_same(of, number, observation->state == SLOT_IDLE);
	else
		leak_note(of, number, observation, (TimestampTz) now_us);
}

static void
observe_slot(int number)
{
	const Session *session = &world.sessions[number];
	LeakObservation observation = {
		.pid = session->pid,
		.started = session->started,
		.state_since = session->state_since,
		.state = session->state,
		.aborted = session->aborted,
		.has_idle_reason = session->listens || session->locks,
		.client_gone = session->client_gone,
		.threshold_ms = world.threshold_ms,
	};
	bool		seen = session->pid != 0 && session->visible;

	if (seen)
		observation.service = session->service->hash;
	if (seen && session->service->names_borrowers)
	{
		observation.borrower = (Borrower) {.named = true, .since = session->lent_at};
		strlcpy(observation.borrower.name, session->lent ? "a job" : "", BORROWER_LEN);
	}
	watch_note(watch, number, seen ? &observation : NULL, world.now_us + world.clock_us);
	task->score.noted += seen;
}

static LeakGap
gap(bool blind)
{
	if (watch->observed_us == 0 || world.now_us > watch->observed_us + MINUTE)
		return LEAK_BLIND;
	return blind ? LEAK_LATE : LEAK_ON_TIME;
}

static void
observe(bool blind)
{
	leak_observation_begin(watch, world.now_us, gap(blind));
	for (int i = 0; i < world.nslots; i++)
		observe_slot(i);
	leak_judge(watch);
	for (int i = 0; i < world.nslots; i++)
		if (world.sessions[i].pid != 0 && world.sessions[i].visible)
			score_sample(&world.sessions[i], &watch->sessions[i]);
	task->score.observations++;
}

/* How a monitor's observations come: not quite on time. */
static uint64
next_observation(void)
{
	return world.now_us + task->interval_ms * MS + (uint64) between(0, 3 * MS);
}

void
task_run(Task *of)
{
	bool		blind = false;

	task = of;
	if (watch == NULL)
		watch = watch_new(SLOTS);
	watch_clear(watch);
	world_begin(task->seed * 1000 + task->variant);
	jobs_begin();
	world.threshold_ms = task->threshold_ms;
	world.closing = score_session;
	world.end_us = world.now_us + (uint64) (task->workload->hours * HOUR);
	task->workload->begin(task->variant);
	while (world.now_us < world.end_us)
	{
		world_advance(next_observation());
		if (world.now_us < world.blind_until_us)
			blind = true;
		else
		{
			observe(blind);
			blind = false;
		}
	}
	for (int i = 0; i < world.nslots; i++)
		if (world.sessions[i].pid != 0 && world.sessions[i].visible)
			score_session(&world.sessions[i]);
}
