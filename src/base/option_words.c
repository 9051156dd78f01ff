/*
 * option_words.c
 *		The words of the options whose values are words.
 */
#include "postgres.h"

#include "base/option_words.h"

DEFINE_WORDS(profile_words, PROFILE_LIST);
DEFINE_WORDS(bystanders_words, BYSTANDERS_LIST);
DEFINE_WORDS(on_fail_words, ON_FAIL_LIST);
DEFINE_WORDS(fault_words, FAULT_LIST);
DEFINE_WORDS(reserved_words, RESERVED_LIST);
DEFINE_WORDS(idle_order_words, IDLE_ORDER_LIST);
DEFINE_WORDS(arrivals_words, ARRIVAL_LIST);
