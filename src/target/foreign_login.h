/*
 * foreign_login.h
 *		How a run logs in to its foreign server, and asks it what it has.
 */
#pragma once

#include "load/target/endpoint.h"
#include "load/target/probe.h"
#include "story/story.h"
#include "target/foreign_option.h"

extern void foreign_login_read(Login *login, const Endpoint *endpoint, const ForeignOption *known,
							   List *server, List *mapping);
extern void foreign_login_read_endpoint(Endpoint *endpoint, const char *default_port, const ForeignOption *known,
										List *server, List *mapping);
extern bool foreign_login_open(Run *run, int n);
extern void foreign_login_make_console(Endpoint *endpoint);
extern bool foreign_login_ask(Run *run, RunParty *party, const Question *questions, const char *failure,
							  const char *where);
extern void foreign_login_require_alone(Run *run, RunParty *party);
