/*
 * login.h
 *		How to log in, and what a login came to.
 */
#pragma once

#include "base/cause.h"

#define ROUTINE_LEN		64
#define MESSAGE_LEN		256

struct Session;

/*
 * What takes part in the sessions of a login.  Called inside the loop; must not
 * throw, close the session or open another.
 */
typedef struct LoginHooks
{
	/* Before it connects; true delays that until session_go_on(). */
	bool		(*before_connect) (struct Session *session);
	void		(*opened) (struct Session *session);

	/* Once at the end of each session, also of one that never opened. */
	void		(*closed) (struct Session *session);
} LoginHooks;

/* SQLSTATE of a login that was to be granted for a password, and was not asked for it */
#define PASSWORD_NOT_ASKED	"2F003"

/* What the other side may ask for, and grant a login for: see auth.c. */
typedef enum AuthRule
{
	AUTH_ANY,
	AUTH_PASSWORD,				/* the password of the login, in any way, and nothing else */
	AUTH_OURS					/* the password, but only this server may get it; or nothing */
} AuthRule;

/* A libpq keyword/value list, terminated by NULL. */
#define LOGIN_PARAMS	40

typedef struct Login
{
	const char *keywords[LOGIN_PARAMS + 1];
	const char *values[LOGIN_PARAMS + 1];
	int			params;
	AuthRule	auth;			/* set by auth_restrict() */
	bool		stalls;			/* it does not answer when asked for its password: see stall.c */
	const LoginHooks *hooks;	/* NULL: none */

	/* A ring of logins that differ by the address: sessions take them in turn.  NULL: there is one. */
	struct Login *next;

	/* Of the hooks: set by chaos_concern(). */
	struct Chaos *chaos;
	struct ChaosCounts *chaos_counts;
	Oid			role;			/* that it leads to on this server; InvalidOid elsewhere */
} Login;

/* How an attempt to connect ended. */
typedef enum ConnectEnd
{
	CONNECT_GRANTED,			/* or it stalls, as intended */
	CONNECT_REFUSED,			/* for lack of capacity; cause says which */
	CONNECT_DENIED,				/* another error with an SQLSTATE */
	CONNECT_UNASKED,			/* was to stall, and was granted without a password */
	CONNECT_BACKLOG,			/* the kernel's queue was full: not a refusal */
	CONNECT_TIMED_OUT,
	CONNECT_BROKEN				/* no answer that libpq could understand */
} ConnectEnd;

typedef struct ConnectResult
{
	ConnectEnd	end;
	Cause		cause;
	char		sqlstate[6];	/* empty if the server gave none */
	char		routine[ROUTINE_LEN];
	char		message[MESSAGE_LEN];
	uint64		took_us;
} ConnectResult;

/* Adds one parameter; ERROR if there is no room.  Keyword and value must live as long as the login. */
static inline void
login_add(Login *login, const char *keyword, const char *value)
{
	if (login->params >= LOGIN_PARAMS)
		elog(ERROR, "a login has more than %d parameters", LOGIN_PARAMS);
	login->keywords[login->params] = keyword;
	login->values[login->params] = value;
	login->params++;
	login->keywords[login->params] = NULL;
	login->values[login->params] = NULL;
}

/* Returns the login after that one in its ring; itself if it is alone. */
static inline Login *
login_next(const Login *login)
{
	return login->next != NULL ? login->next : unconstify(Login *, login);
}

/* Each login of the ring that this one is in. */
#define foreach_login(each, login) \
	for (Login *each = (login), *each##_end = NULL; each != each##_end; \
		 each##_end = (login), each = login_next(each))

/* Returns what a login says of that keyword, the last that it says; NULL if nothing. */
static inline const char *
login_value(const Login *login, const char *keyword)
{
	for (int i = login->params - 1; i >= 0; i--)
		if (strcmp(login->keywords[i], keyword) == 0)
			return login->values[i];
	return NULL;
}
