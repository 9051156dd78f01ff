/*
 * address.c
 *		Addresses of which it matters where they lead: to this machine alone, or to
 *		what a machine has for itself, such as the credentials of a cloud.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/address.h"

/* IPv6 addresses that stand for an IPv4 address, their last four bytes: mapped, and NAT64. */
#define EMBEDDING_BITS	96
static const char *const embeddings[] = {"::ffff:0:0", "64:ff9b::"};

typedef struct Net
{
	const char *address;
	int			bits;
	const char *what;
} Net;

static const Net loopback_nets[] = {
	{"127.0.0.0", 8, "loopback"},
	{"::1", 128, "loopback"},
};

/* The table in docs/http.md has them, too. */
static const Net restricted_nets[] = {
	{"169.254.169.254", 32, "an address of cloud metadata"},
	{"169.254.0.0", 16, "a link-local address"},
	{"100.100.100.200", 32, "an address of cloud metadata"},
	{"168.63.129.16", 32, "an address of cloud metadata"},
	{"fd00:ec2::254", 128, "an address of cloud metadata"},
	{"fd20:ce::254", 128, "an address of cloud metadata"},
	{"fe80::", 10, "a link-local address"},
};

/* Bytes of an address, 4 or 16. */
typedef struct AddressBytes
{
	int			n;				/* 0: it is none */
	unsigned char byte[16];
} AddressBytes;

static bool
is_within(const AddressBytes *bytes, const unsigned char *net, int bits)
{
	int			whole = bits / 8;
	int			mask = 0xff00 >> bits % 8;

	return memcmp(bytes->byte, net, whole) == 0 &&
		(bits % 8 == 0 || ((bytes->byte[whole] ^ net[whole]) & mask & 0xff) == 0);
}

/* Reads the bytes of a numeric address; any scope behind it is left away. */
static AddressBytes
bytes_parse(const char *text)
{
	AddressBytes bytes = {0};
	char		address[INET6_ADDRSTRLEN];

	strlcpy(address, text, Min(strcspn(text, "%") + 1, sizeof(address)));
	if (inet_pton(AF_INET, address, bytes.byte) == 1)
		bytes.n = 4;
	else if (inet_pton(AF_INET6, address, bytes.byte) == 1)
		bytes.n = 16;
	return bytes;
}

/* An IPv6 address that stands for an IPv4 address becomes that. */
static void
bytes_unwrap(AddressBytes *bytes)
{
	for (int i = 0; i < lengthof(embeddings) && bytes->n == 16; i++)
	{
		AddressBytes net = bytes_parse(embeddings[i]);

		if (!is_within(bytes, net.byte, EMBEDDING_BITS))
			continue;
		memmove(bytes->byte, bytes->byte + 12, 4);
		bytes->n = 4;
	}
}

/* Returns the first of these nets that the address is in, NULL if there is none. */
static const Net *
net_of(AddressBytes bytes, const Net *nets, int n)
{
	bytes_unwrap(&bytes);
	for (int i = 0; i < n; i++)
	{
		AddressBytes net = bytes_parse(nets[i].address);

		if (bytes.n == net.n && is_within(&bytes, net.byte, nets[i].bits))
			return &nets[i];
	}
	return NULL;
}

static bool
bytes_are_loopback(AddressBytes bytes)
{
	return net_of(bytes, loopback_nets, lengthof(loopback_nets)) != NULL;
}

/* Is it an address that only this machine reaches? */
bool
address_is_loopback(const struct sockaddr *address)
{
	AddressBytes bytes = {0};

	if (address->sa_family == AF_INET)
		memcpy(bytes.byte, &((const struct sockaddr_in *) address)->sin_addr, bytes.n = 4);
	else if (address->sa_family == AF_INET6)
		memcpy(bytes.byte, &((const struct sockaddr_in6 *) address)->sin6_addr, bytes.n = 16);
	return bytes_are_loopback(bytes);
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
		return host[n] == ']' && bytes_are_loopback(bytes_parse(name));
	if (n > 1 && name[n - 1] == '.')
		name[n - 1] = '\0';
	return pg_strcasecmp(name, "localhost") == 0 || bytes_are_loopback(bytes_parse(name));
}

/*
 * Returns what a numeric address is, a constant, if it leads to what a machine
 * has for itself and not to a service; NULL otherwise.
 */
const char *
address_restricted(const char *address)
{
	const Net  *net = net_of(bytes_parse(address), restricted_nets, lengthof(restricted_nets));

	return net != NULL ? net->what : NULL;
}
