/* Between look.c, which finds records that are no request of ours, and manage.c, which answers them. */
#ifndef FCGI_LOOK_H
#define FCGI_LOOK_H

#include <stdbool.h>
#include <stddef.h>

/* Answers what fcgi_walk() said is to be consumed: whole records. Never waits; false when the socket
 * failed or has no room for the answer. */
bool fcgi_manage_answer(int fd, const unsigned char *bytes, size_t size);

#endif
