/* An error as a sentence.
 *
 * Functions that can fail at boot, reload or spawn return int and take a struct err *. The failing spot
 * fills it, each caller may put context in front, and only the outermost one logs or prints it, once. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#define ERR_TEXT_MAX 16384

struct err {
    char text[ERR_TEXT_MAX]; /* NUL-terminated, no trailing newline; longer text is cut */
};

/* Sets the text. Always returns -1, so that a caller can say: return err_set(e, …). */
int err_set(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* As err_set, followed by ": " and the text of the current errno. Keeps errno. */
int err_errno(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "CONTEXT: " in front of the text. Always returns -1. */
int err_prefix(struct err *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Adds a further error on a line of its own. Always returns -1. */
int err_append(struct err *e, const struct err *further);

#endif
