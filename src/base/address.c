/*
 * address.c
 *		Addresses of which it matters where they lead: to this machine alone, or to
 *		what a machine has for itself, such as the credentials of a cloud.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "libpq/ifaddr.h"

#include "base/address.h"

typedef struct Net
{
	const char *address;
	const char *bits;
	const char *what;
} Net;

/* IPv6 addresses that stand for an IPv4 address, their last four bytes. */
static const Net embedding_nets[] = {
	{"::ffff:0:0", "96", "mapped"},
	{"64:ff9b::", "96", "NAT64"},
};

static const Net loopback_nets[] = {
	{"127.0.0.0", "8", "loopback"},
	{"::1", "128", "loopback"},
};

/* The table in docs/http.md has them, too. */
static const Net restricted_nets[] = {
	{"169.254.169.254", "32", "an address of cloud metadata"},
	{"169.254.0.0", "16", "a link-local address"},
	{"100.100.100.200", "32", "an address of cloud metadata"},
	{"168.63.129.16", "32", "an address of cloud metadata"},
	{"fd00:ec2::254", "128", "an address of cloud metadata"},
	{"fd20:ce::254", "128", "an address of cloud metadata"},
	{"fe80::", "10", "a link-local address"},
};

/* Reads a numeric address; any scope behind it is left away.  False if it is none. */
static bool
address_parse(const char *text, struct sockaddr_storage *address)
{
	char		number[INET6_ADDRSTRLEN];

	memset(address, 0, sizeof(*address));
	strlcpy(number, text, Min(strcspn(text, "%") + 1, sizeof(number)));
	if (inet_pton(AF_INET, number, &((struct sockaddr_in *) address)->sin_addr) == 1)
		address->ss_family = AF_INET;
	else if (inet_pton(AF_INET6, number, &((struct sockaddr_in6 *) address)->sin6_addr) == 1)
		address->ss_family = AF_INET6;
	return address->ss_family != AF_UNSPEC;
}

/* Returns the first of these nets that the address is in, NULL if there is none. */
static const Net *
net_of(const struct sockaddr_storage *address, const Net *nets, int n)
{
	for (int i = 0; i < n; i++)
	{
		struct sockaddr_storage net;
		struct sockaddr_storage mask;

		if (address_parse(nets[i].address, &net) && net.ss_family == address->ss_family &&
			pg_sockaddr_cidr_mask(&mask, unconstify(char *, nets[i].bits), net.ss_family) == 0 &&
			pg_range_sockaddr(address, &net, &mask))
			return &nets[i];
	}
	return NULL;
}

/* An IPv6 address that stands for an IPv4 address becomes that. */
static void
address_unwrap(struct sockaddr_storage *address)
{
	struct sockaddr_in wrapped = {.sin_family = AF_INET};

	if (net_of(address, embedding_nets, lengthof(embedding_nets)) == NULL)
		return;
	memcpy(&wrapped.sin_addr, &((struct sockaddr_in6 *) address)->sin6_addr.s6_addr[12], sizeof(wrapped.sin_addr));
	memcpy(address, &wrapped, sizeof(wrapped));
}

/* Is it an address that only this machine reaches? */
bool
address_is_loopback(const struct sockaddr_storage *address)
{
	struct sockaddr_storage unwrapped = *address;

	address_unwrap(&unwrapped);
	return net_of(&unwrapped, loopback_nets, lengthof(loopback_nets)) != NULL;
}

static bool
is_numeric_loopback(const char *text)
{
	struct sockaddr_storage address;

	return address_parse(text, &address) && address_is_loopback(&address);
}

/*
 * Is it localhost or a loopback address, as it stands in a header Host: with or
 * without a port?
 */
bool
host_is_loopback(const char *host)
{
	bool		bracket = host[0] == '[';
	size_t		n = strcspn(host, bracket ? "]" : ":");
	const char *port = host + n + (bracket && host[n] == ']');
	char		name[64];

	if (n >= sizeof(name) || (port[0] != '\0' && (port[0] != ':' || strspn(port + 1, "0123456789") != strlen(port + 1))))
		return false;
	strlcpy(name, host + bracket, n + 1 - bracket);
	if (bracket)
		return host[n] == ']' && is_numeric_loopback(name);
	if (n > 1 && name[n - 1] == '.')
		name[n - 1] = '\0';
	return pg_strcasecmp(name, "localhost") == 0 || is_numeric_loopback(name);
}

/*
 * Returns what a numeric address is, a constant, if it leads to what a machine
 * has for itself and not to a service; NULL otherwise.
 */
const char *
address_restricted(const char *address)
{
	struct sockaddr_storage parsed;
	const Net  *net;

	if (!address_parse(address, &parsed))
		return NULL;
	address_unwrap(&parsed);
	net = net_of(&parsed, restricted_nets, lengthof(restricted_nets));
	return net != NULL ? net->what : NULL;
}
