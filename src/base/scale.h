/*
 * scale.h
 *		What many sessions of one process take of its machine, and what is short first.
 */
#pragma once

#include "base/words.h"

/* Descriptors that a runner needs beside those of its sessions. */
#define SPARE_DESCRIPTORS	64

#define SCALE_TEXT_LEN		128 /* room for scale_text() */

/* Sessions that one process is to have at once, those that log in included. */
typedef struct ScaleNeed
{
	int			sessions;
	int			addresses;		/* that they are spread over, all by one port; 0 = they go over a unix socket */
	bool		tls;
	bool		password;		/* they may be asked for one, by SCRAM */
	bool		pooler;			/* that is what they log in to */
	int			handshakes;		/* logins at once, to a listener of this machine; 0 = it is elsewhere */
} ScaleNeed;

/* What the machine has for them; 0 = not known. */
typedef struct ScaleRoom
{
	int64		files;			/* the hard limit of open files of a process */
	int64		ports;			/* for connections to one address and port */
	int64		memory_kib;
	int64		backlog;		/* connections that a listener here can let wait, at the most */
} ScaleRoom;

/* A limit: its member, its name, and what is counted there. */
#define SCALE_LIMIT_LIST(ROW) \
	ROW(SCALE_FILES, "open files", "of the runner, by the hard limit that the server was started with (ulimit -Hn, LimitNOFILE=)") \
	ROW(SCALE_PORTS, "ports", "to each address of the target, of net.ipv4.ip_local_port_range") \
	ROW(SCALE_MEMORY, "memory", "KiB of the runner") \
	ROW(SCALE_BACKLOG, "backlog", "logins that wait to be accepted, by net.core.somaxconn")

typedef enum ScaleLimit
{
	SCALE_FITS = -1,
	SCALE_LIMIT_LIST(LIST_MEMBER)
	SCALE_LIMITS
} ScaleLimit;

extern const char *const scale_limit_names[];
extern const char *const scale_limit_units[];

extern int64 scale_needed(ScaleLimit limit, const ScaleNeed *need);
extern int64 scale_there(ScaleLimit limit, const ScaleRoom *room);
extern int64 scale_sessions(ScaleLimit limit, const ScaleNeed *need, const ScaleRoom *room);
extern double scale_login_ms(const ScaleNeed *need);
extern ScaleLimit scale_short(const ScaleNeed *need, const ScaleRoom *room);
extern const char *scale_text(char *buf, size_t size, ScaleLimit limit, const ScaleNeed *need, const ScaleRoom *room);
extern const char *scale_help(ScaleLimit limit);
extern int64 scale_ports(int low, int high, const char *reserved);
