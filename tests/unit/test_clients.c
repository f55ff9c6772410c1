/* links: host-plain */
/* Who may connect, by allowed-clients. */
#include "base/err.h"
#include "config/config.h"
#include "pyhost/clients.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

static struct err e;

static bool allows(const char *allowed, const char *peer)
{
    char copy[64];
    strcpy(copy, allowed);
    char *items[] = {copy, NULL};
    struct cfg_list list = {items, 1};
    struct host_clients *s = host_clients_new(&list, &e);
    assert_non_null(s);
    struct sockaddr_storage address = {0};
    if (strchr(peer, ':')) {
        address.ss_family = AF_INET6;
        assert_int_equal(inet_pton(AF_INET6, peer, &((struct sockaddr_in6 *)&address)->sin6_addr), 1);
    } else {
        address.ss_family = AF_INET;
        assert_int_equal(inet_pton(AF_INET, peer, &((struct sockaddr_in *)&address)->sin_addr), 1);
    }
    bool is_allowed = host_clients_allow(s, (const struct sockaddr *)&address);
    host_clients_free(s);
    return is_allowed;
}

static void test_addresses_and_blocks_let_in_whom_they_name(void **state)
{
    (void)state;
    assert_true(allows("127.0.0.1", "127.0.0.1"));
    assert_false(allows("127.0.0.1", "127.0.0.2"));
    assert_true(allows("10.0.0.0/8", "10.255.1.2"));
    assert_false(allows("10.0.0.0/8", "11.0.0.0"));
    assert_true(allows("192.168.1.128/25", "192.168.1.200"));
    assert_false(allows("192.168.1.128/25", "192.168.1.100"));
    assert_true(allows("0.0.0.0/0", "8.8.8.8"));
    assert_false(allows("0.0.0.0/0", "2001:db8::1"));
    assert_true(allows("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(allows("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(allows("::1", "::1"));
}

static void test_an_ipv4_peer_on_an_ipv6_socket_is_the_same_peer(void **state)
{
    (void)state;
    assert_true(allows("127.0.0.1", "::ffff:127.0.0.1"));
    assert_false(allows("127.0.0.1", "::ffff:127.0.0.2"));
    assert_true(allows("::ffff:10.0.0.1", "10.0.0.1"));
}

static void test_an_empty_list_and_local_sockets_let_in_everybody(void **state)
{
    (void)state;
    char one[] = "127.0.0.1", *items[] = {one, NULL};
    struct cfg_list none = {NULL, 0}, list = {items, 1};
    struct sockaddr_storage local = {.ss_family = AF_UNIX}, remote = {.ss_family = AF_INET};
    struct host_clients *s = host_clients_new(&none, &e);
    assert_true(host_clients_allow(s, (const struct sockaddr *)&remote));
    host_clients_free(s);
    s = host_clients_new(&list, &e);
    assert_true(host_clients_allow(s, (const struct sockaddr *)&local));
    assert_false(host_clients_allow(s, (const struct sockaddr *)&remote));
    host_clients_free(s);
}

static void test_what_is_no_address_is_an_error_that_names_it(void **state)
{
    (void)state;
    static const char *const wrong[] = {"localhost", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/8x", ""};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        char copy[64];
        strcpy(copy, wrong[i]);
        char *items[] = {copy, NULL};
        struct cfg_list list = {items, 1};
        assert_null(host_clients_new(&list, &e));
        assert_non_null(strstr(e.text, wrong[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_and_blocks_let_in_whom_they_name),
        cmocka_unit_test(test_an_ipv4_peer_on_an_ipv6_socket_is_the_same_peer),
        cmocka_unit_test(test_an_empty_list_and_local_sockets_let_in_everybody),
        cmocka_unit_test(test_what_is_no_address_is_an_error_that_names_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
