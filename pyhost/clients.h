/* Who may connect to a TCP socket: the allowed-clients of a group. */
#ifndef PYHOST_CLIENTS_H
#define PYHOST_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>

struct cfg_list;
struct err;
struct sockaddr;

struct host_clients;

/* Takes addresses and CIDR blocks apart. An empty list allows everybody. NULL with *e. */
struct host_clients *host_clients_new(const struct cfg_list *allowed, struct err *e);
void host_clients_free(struct host_clients *s);

/* True for every peer that is not on TCP, and for IPv4 addresses in their IPv6 clothes (::ffff:1.2.3.4) as
 * for themselves. Any thread. */
bool host_clients_allow(const struct host_clients *s, const struct sockaddr *peer);

/* The peer as text, for the log. */
void host_clients_name(const struct sockaddr *peer, char *text, size_t text_size);

#endif
