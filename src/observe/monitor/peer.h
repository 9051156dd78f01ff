/*
 * peer.h
 *		Whether the client of a session is still there, by its socket.
 */
#pragma once

typedef enum PeerState
{
	PEER_UNKNOWN,				/* peer_errno() says why */
	PEER_THERE,
	PEER_LOST,					/* in no table: it was reset, or the table was read while it changed */
	PEER_GONE
} PeerState;

extern void peers_begin(void);
extern PeerState peer_read(int pid, bool local);
extern int	peer_errno(void);
