/*
 * peer.c
 *		Whether the client of a session is still there, by its socket.
 *
 * A backend that runs a statement does not read its socket, but the kernel
 * knows: the peer of a connection that was closed shows as CLOSE_WAIT (TCP) or
 * has shut down both ways (unix), and one that was reset is in no table any
 * more.  The sockets of a process are the links in /proc/PID/fd, and their state
 * is asked of the kernel by sock_diag(7), which needs no privilege.  Linux only;
 * elsewhere nothing is known.  client_connection_check_interval lets backends
 * check for themselves, by the same signs.
 */
#include "postgres.h"

#include <dirent.h>
#include <errno.h>
#include <unistd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>

#include "miscadmin.h"
#include "postmaster/postmaster.h"
#include "utils/memutils.h"

#include "event/loop.h"
#include "observe/monitor/peer.h"

/* Open sockets of one backend that are checked; it has one, as a rule. */
#define SOCKETS_MAX		32

#define ANSWER_SIZE		32768

/* The list of connections takes no more than one part in so many of the time. */
#define LIST_SHARE		100

/* What the kernel says of a connection that this server has accepted. */
typedef struct Connection
{
	ino_t		inode;
	bool		closed;			/* by its client */
} Connection;

static Connection *connections; /* over TCP, by inode */
static int	nconnections;
static int	connections_max;
static bool listed;				/* in this observation */
static uint64 list_again_us;	/* not before that */
static int	last_errno;

/* Nothing is known yet in this observation. */
void
peers_begin(void)
{
	listed = false;
	last_errno = 0;
}

/* The errno for which nothing was known of some client in this observation, or 0. */
int
peer_errno(void)
{
	return last_errno;
}

static PeerState
peer_failed(int error)
{
	last_errno = error;
	return PEER_UNKNOWN;
}

/*
 * Asks the kernel, with the body of a request and its flags, and hands each answer to
 * "take".  Returns 0, or the errno of what the kernel said.
 */
static int
diag_ask(const void *body, size_t size, int flags, void (*take) (const struct nlmsghdr *answer, void *arg), void *arg)
{
	static char buffer[ANSWER_SIZE] pg_attribute_aligned(8);
	struct nlmsghdr head = {.nlmsg_len = NLMSG_LENGTH(size), .nlmsg_type = SOCK_DIAG_BY_FAMILY,
	.nlmsg_flags = NLM_F_REQUEST | flags};
	struct iovec request[] = {{&head, sizeof(head)}, {unconstify(void *, body), size}};
	int			fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	int			result = -1;

	if (fd < 0)
		return errno;
	if (writev(fd, request, lengthof(request)) < 0)
		result = errno;
	while (result < 0)
	{
		ssize_t		got = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
		int			left = (int) got;

		/* The kernel answers before writev() returns, so there is nothing to wait for. */
		if (got <= 0)
			result = got < 0 ? errno : EIO;
		for (struct nlmsghdr *h = (struct nlmsghdr *) buffer; result < 0 && NLMSG_OK(h, left); h = NLMSG_NEXT(h, left))
		{
			if (h->nlmsg_type == NLMSG_DONE)
				result = 0;
			else if (h->nlmsg_type == NLMSG_ERROR)
				result = -((const struct nlmsgerr *) NLMSG_DATA(h))->error;
			else
				take(h, arg);
			if (result < 0 && (h->nlmsg_flags & NLM_F_MULTI) == 0)
				result = 0;
		}
	}
	close(fd);
	return result;
}

static void
connection_take(const struct nlmsghdr *answer, void *arg)
{
	const struct inet_diag_msg *m = NLMSG_DATA(answer);

	if (ntohs(m->id.idiag_sport) != PostPortNumber || nconnections >= connections_max)
		return;
	connections[nconnections++] = (Connection) {m->idiag_inode, m->idiag_state == TCP_CLOSE_WAIT};
}

static int
connection_compare(const void *a, const void *b)
{
	ino_t		x = ((const Connection *) a)->inode;
	ino_t		y = ((const Connection *) b)->inode;

	return x < y ? -1 : x > y;
}

/* Asks for the connections of one family whose near port is the server's. */
static int
connections_ask(int family)
{
	struct
	{
		struct inet_diag_req_v2 sockets;
		struct rtattr filter;
		struct inet_diag_bc_op ops[4];
	}			request = {
		.sockets = {.sdiag_family = family, .sdiag_protocol = IPPROTO_TCP,
		.idiag_states = (1 << TCP_ESTABLISHED) | (1 << TCP_CLOSE_WAIT)},
		.filter = {.rta_len = RTA_LENGTH(sizeof(request.ops)), .rta_type = INET_DIAG_REQ_BYTECODE},
		/* Two operations of two words each: on to the next, or out, beyond the end. */
		.ops = {
			{INET_DIAG_BC_S_GE, 8, 20}, {.no = PostPortNumber},
			{INET_DIAG_BC_S_LE, 8, 12}, {.no = PostPortNumber},
		},
	};

	return diag_ask(&request, sizeof(request), NLM_F_DUMP, connection_take, NULL);
}

/*
 * The connections over TCP that this server has; once an observation, and less often where
 * that takes long, as it does on a machine with very many.  Returns an errno,
 * EAGAIN if it is too early.
 */
static int
connections_list(void)
{
	uint64		begun_us = loop_now_us();
	int			error;

	if (listed)
		return 0;
	if (begun_us < list_again_us)
		return EAGAIN;
	if (connections == NULL)
	{
		/* A backend that is on its way out has given its slot back already. */
		connections_max = 2 * MaxConnections;
		connections = MemoryContextAlloc(TopMemoryContext, sizeof(Connection) * connections_max);
	}
	nconnections = 0;
	error = connections_ask(AF_INET);
	if (error == 0 || error == ENOENT)
		error = connections_ask(AF_INET6);
	qsort(connections, nconnections, sizeof(Connection), connection_compare);
	listed = error == 0;
	list_again_us = loop_now_us() + (loop_now_us() - begun_us) * LIST_SHARE;
	return error;
}

/* Finds the inodes of the process's sockets; returns how many, or -1 and sets errno. */
static int
sockets_of(int pid, ino_t *inodes)
{
	char		path[64];
	DIR		   *dir;
	struct dirent *entry;
	int			n = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (dir == NULL)
		return -1;
	while (n < SOCKETS_MAX && (entry = readdir(dir)) != NULL)
	{
		char		target[64];
		ssize_t		len = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
		unsigned long inode;

		if (len <= 0)
			continue;
		target[len] = '\0';
		if (sscanf(target, "socket:[%lu]", &inode) == 1)
			inodes[n++] = inode;
	}
	closedir(dir);
	return n;
}

/* What the kernel says of one unix socket: the server's own name if it is the server's, and which side has shut down. */
static void
unix_take(const struct nlmsghdr *answer, void *arg)
{
	const struct unix_diag_msg *m = NLMSG_DATA(answer);
	Connection *result = arg;
	char		suffix[32];
	int			left = answer->nlmsg_len - NLMSG_LENGTH(sizeof(*m));

	snprintf(suffix, sizeof(suffix), ".s.PGSQL.%d", PostPortNumber);
	for (const struct rtattr *a = (const struct rtattr *) (m + 1); RTA_OK(a, left); a = RTA_NEXT(a, left))
	{
		if (a->rta_type == UNIX_DIAG_NAME && memmem(RTA_DATA(a), RTA_PAYLOAD(a), suffix, strlen(suffix)) != NULL)
			result->inode = m->udiag_ino;
		else if (a->rta_type == UNIX_DIAG_SHUTDOWN)
			result->closed = *(const uint8 *) RTA_DATA(a) & 1;	/* RCV_SHUTDOWN */
	}
}

static PeerState
peer_of_unix(const ino_t *inodes, int n)
{
	for (int i = 0; i < n; i++)
	{
		struct unix_diag_req request = {.sdiag_family = AF_UNIX, .udiag_states = -1, .udiag_ino = inodes[i],
		.udiag_show = UDIAG_SHOW_NAME, .udiag_cookie = {-1, -1}};
		Connection	found = {0};
		int			error = diag_ask(&request, sizeof(request), 0, unix_take, &found);

		if (error != 0 && error != ENOENT)	/* ENOENT: a socket of another family */
			return peer_failed(error);
		if (found.inode != 0)
			return found.closed ? PEER_GONE : PEER_THERE;
	}
	return PEER_UNKNOWN;
}

static PeerState
peer_of_tcp(const ino_t *inodes, int n)
{
	int			error = connections_list();

	if (error == EAGAIN)
		return PEER_UNKNOWN;
	if (error != 0)
		return peer_failed(error);
	if (nconnections >= connections_max)
		return PEER_UNKNOWN;
	for (int i = 0; i < n; i++)
	{
		Connection	key = {inodes[i]};
		const Connection *found = bsearch(&key, connections, nconnections, sizeof(Connection), connection_compare);

		if (found != NULL)
			return found->closed ? PEER_GONE : PEER_THERE;
	}
	/* It has a socket, and no connection any more: that was reset. */
	return n > 0 && n < SOCKETS_MAX ? PEER_LOST : PEER_UNKNOWN;
}

/*
 * Returns whether the client of a backend is still there.  "local" says that it
 * came through a unix socket.  Takes some tens of microseconds.
 */
PeerState
peer_read(int pid, bool local)
{
	ino_t		inodes[SOCKETS_MAX];
	int			n = sockets_of(pid, inodes);

	if (n < 0)
		return errno == ENOENT || errno == ESRCH ? PEER_UNKNOWN : peer_failed(errno);
	return local ? peer_of_unix(inodes, n) : peer_of_tcp(inodes, n);
}
