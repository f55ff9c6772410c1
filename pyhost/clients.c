/* Decides by address who may connect.
 *
 * The list is turned into 16-byte IPv6 prefixes once, IPv4 as ::ffff:0:0/96, so that one comparison serves
 * both families. Does no name lookup. Read-only after host_clients_new(); any thread. */
#include "pyhost/clients.h"

#include "base/err.h"
#include "config/config.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct block {
    unsigned char address[16];
    unsigned bits; /* of the prefix, 0 … 128 */
};

struct host_clients {
    size_t count;
    struct block blocks[];
};

static void map_ipv4(const void *ipv4, unsigned char address[16])
{
    memset(address, 0, 10);
    memset(address + 10, 0xff, 2);
    memcpy(address + 12, ipv4, 4);
}

static int parse_block(const char *text, struct block *block, struct err *e)
{
    char address[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t address_size = slash ? (size_t)(slash - text) : strlen(text);
    if (address_size >= sizeof address)
        return err_set(e, "allowed-clients: %s is no address", text);
    memcpy(address, text, address_size);
    address[address_size] = '\0';

    unsigned char ipv4[4];
    unsigned most_bits = 128;
    if (inet_pton(AF_INET, address, ipv4) == 1) {
        map_ipv4(ipv4, block->address);
        most_bits = 32;
    } else if (inet_pton(AF_INET6, address, block->address) != 1) {
        return err_set(e, "allowed-clients: %s is no address", text);
    }
    unsigned long bits = most_bits;
    if (slash) {
        char *end;
        bits = strtoul(slash + 1, &end, 10);
        if (end == slash + 1 || *end != '\0' || bits > most_bits)
            return err_set(e, "allowed-clients: %s has no prefix length of 0 to %u", text, most_bits);
    }
    block->bits = (unsigned)bits + (128 - most_bits);
    return 0;
}

struct host_clients *host_clients_new(const struct cfg_list *allowed, struct err *e)
{
    struct host_clients *s = malloc(sizeof *s + allowed->count * sizeof s->blocks[0]);
    if (!s) {
        err_errno(e, "allowed-clients");
        return NULL;
    }
    s->count = allowed->count;
    for (size_t i = 0; i < allowed->count; i++) {
        if (parse_block(allowed->items[i], &s->blocks[i], e) < 0) {
            free(s);
            return NULL;
        }
    }
    return s;
}

void host_clients_free(struct host_clients *s)
{
    free(s);
}

static bool block_holds(const struct block *block, const unsigned char address[16])
{
    unsigned whole = block->bits / 8;
    unsigned rest = block->bits % 8;
    if (memcmp(block->address, address, whole) != 0)
        return false;
    if (rest == 0)
        return true;
    unsigned char mask = (unsigned char)(0xff << (8 - rest));
    return ((block->address[whole] ^ address[whole]) & mask) == 0;
}

bool host_clients_allow(const struct host_clients *s, const struct sockaddr *peer)
{
    unsigned char address[16];
    if (s->count == 0)
        return true;
    if (peer->sa_family == AF_INET)
        map_ipv4(&((const struct sockaddr_in *)(const void *)peer)->sin_addr, address);
    else if (peer->sa_family == AF_INET6)
        memcpy(address, &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr, 16);
    else
        return true;
    for (size_t i = 0; i < s->count; i++)
        if (block_holds(&s->blocks[i], address))
            return true;
    return false;
}

void host_clients_name(const struct sockaddr *peer, char *text, size_t text_size)
{
    const void *address = NULL;
    if (peer->sa_family == AF_INET)
        address = &((const struct sockaddr_in *)(const void *)peer)->sin_addr;
    else if (peer->sa_family == AF_INET6)
        address = &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr;
    if (!address || !inet_ntop(peer->sa_family, address, text, (socklen_t)text_size))
        snprintf(text, text_size, "a local peer");
}
