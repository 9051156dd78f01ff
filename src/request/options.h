/*
 * options.h
 *		jsonb options -> what was asked for -> what is in force -> JSON.
 */
#pragma once

#include "utils/jsonb.h"

#include "shmem/request.h"
#include "story/story.h"

extern char *scenario_subject(const Scenario *scenario);
extern AskedOptions options_parse(Jsonb *jsonb, const Scenario *scenario);
extern AskedOptions options_pass_on(const AskedOptions *asked, const Scenario *scenario);
extern bool options_ask_same(const RunRequest *a, const RunRequest *b, const Scenario *scenario);
extern Options options_in_force(const RunRequest *request, const Scenario *scenario);
extern OptionSet options_left_to_target(const RunRequest *request, const Scenario *scenario);
extern char *options_json(const RunRequest *request, const Scenario *scenario, const Options *options);
extern char *options_changed_json(const RunRequest *request, const Scenario *scenario, const Options *options);
extern char *options_describe(const Scenario *scenario);
