/* Takes socket addresses apart: listen values, and the addresses and networks of allowed-clients.
 *
 * Looks at the text only: no name is looked up, no file touched. */
#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "config/config.h"
#include "config/rules.h"

static const char what_is_listen[] = "a path, host:port, [v6]:port or systemd:NAME";

/* A decimal number of at most five digits without leading zeros; -1 for anything else. */
static int small_number(const char *text)
{
    size_t length = strlen(text);
    if (length == 0 || length > 5 || strspn(text, "0123456789") != length || (text[0] == '0' && length > 1))
        return -1;
    return atoi(text);
}

static int parse_path(const char *listen, struct cfg_address *address, struct err *e)
{
    address->kind = CFG_LISTEN_UNIX;
    if (strlen(listen) >= sizeof(address->path))
        return err_set(e, "the path \"%.200s\" has %zu bytes; a socket's path can have %zu at most", listen,
                       strlen(listen), sizeof(address->path) - 1);
    strcpy(address->path, listen);
    return 0;
}

static int parse_systemd(const char *name, struct cfg_address *address, struct err *e)
{
    address->kind = CFG_LISTEN_SYSTEMD;
    if (name[0] == '\0' || strlen(name) >= sizeof(address->path))
        return err_set(e, "systemd: must be followed by the name of a socket");
    strcpy(address->path, name);
    return 0;
}

/* An IPv6 address, with or without a zone (fe80::1%eth0). */
static bool is_ipv6(const char *host)
{
    struct in6_addr ignored;
    char bare[INET6_ADDRSTRLEN];
    size_t length = strcspn(host, "%");
    if (length >= sizeof(bare) || (host[length] == '%' && host[length + 1] == '\0'))
        return false;
    memcpy(bare, host, length);
    bare[length] = '\0';
    return inet_pton(AF_INET6, bare, &ignored) == 1;
}

static bool is_host_name(const char *host)
{
    for (const char *c = host; *c != '\0'; c++) {
        if (!isascii((unsigned char)*c) || !(isalnum((unsigned char)*c) || strchr("-_.", *c) != NULL))
            return false;
    }
    return true;
}

static int set_host(const char *host, size_t length, bool is_bracketed, struct cfg_address *address,
                    struct err *e)
{
    if (length >= sizeof(address->host))
        return err_set(e, "the host's name is too long");
    memcpy(address->host, host, length);
    address->host[length] = '\0';
    if (is_bracketed)
        return is_ipv6(address->host) ? 0 : err_set(e, "\"%s\" is not an IPv6 address", address->host);
    if (strcmp(address->host, "*") == 0)
        address->host[0] = '\0';
    if (strchr(address->host, ':') != NULL)
        return err_set(e, "an IPv6 address must stand in brackets: [%s]:port", address->host);
    if (strcmp(address->host, "unix") == 0)
        return err_set(e, "write the socket's path alone, without unix:");
    return is_host_name(address->host) ? 0 : err_set(e, "\"%s\" is not the name of a host", address->host);
}

static int set_port(const char *port, struct cfg_address *address, struct err *e)
{
    int number = small_number(port);
    if (number < 1 || number > 65535)
        return err_set(e, "\"%.120s\" is not a port (1 to 65535)", port);
    strcpy(address->port, port);
    return 0;
}

static int parse_tcp(const char *listen, struct cfg_address *address, struct err *e)
{
    address->kind = CFG_LISTEN_TCP;
    const char *colon = strrchr(listen, ':');
    if (colon == NULL)
        return err_set(e, "\"%.120s\" is not %s%s", listen, what_is_listen,
                       strchr(listen, '/') != NULL ? " (a path must be absolute)" : "");
    bool is_bracketed = listen[0] == '[';
    if (is_bracketed && colon[-1] != ']')
        return err_set(e, "\"%.120s\" is not %s", listen, what_is_listen);
    const char *host = listen + is_bracketed;
    if (set_host(host, (size_t)(colon - host) - is_bracketed, is_bracketed, address, e) != 0)
        return -1;
    return set_port(colon + 1, address, e);
}

int cfg_parse_address(const char *listen, struct cfg_address *address, struct err *e)
{
    memset(address, 0, sizeof(*address));
    if (listen[0] == '/')
        return parse_path(listen, address, e);
    if (strncmp(listen, "systemd:", 8) == 0)
        return parse_systemd(listen + 8, address, e);
    return parse_tcp(listen, address, e);
}

int cfg_rule_client(const char *text, struct err *e)
{
    unsigned char ignored[sizeof(struct in6_addr)];
    char bare[INET6_ADDRSTRLEN] = "";
    size_t length = strcspn(text, "/");
    if (length < sizeof(bare))
        memcpy(bare, text, length);
    int bits = inet_pton(AF_INET, bare, ignored) == 1    ? 32
               : inet_pton(AF_INET6, bare, ignored) == 1 ? 128
                                                         : 0;
    if (bits == 0)
        return err_set(
            e, "\"%.120s\" is neither an IPv4 nor an IPv6 address, nor a network such as 10.0.0.0/8", text);
    if (text[length] == '\0')
        return 0;
    int prefix = small_number(text + length + 1);
    if (prefix < 0 || prefix > bits)
        return err_set(e, "\"%.120s\" has a wrong prefix length (0 to %d)", text, bits);
    return 0;
}
