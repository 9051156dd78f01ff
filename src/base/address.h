/*
 * address.h
 *		Addresses of which it matters where they lead.
 */
#pragma once

#include <sys/socket.h>

extern bool address_is_loopback(const struct sockaddr_storage *address);
extern bool host_is_loopback(const char *host);
extern const char *address_restricted(const char *address);
