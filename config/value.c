/* Numbers with and without units, switches and words, as they stand in the file.
 *
 * Works on the text of the scalar, not on what YAML would make of it: 0660 is a mode whether or not it is
 * quoted, and 3.10 never becomes 3.1. Pure functions. */
#include "config/value.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "config/text.h"

struct unit {
    const char *name;
    int64_t factor;
};

struct number_kind {
    struct unit units[5]; /* largest first; the bare number's has the name "" */
    const char *wanted;
};

static const struct number_kind number_kinds[] = {
    [CFG_NUMBER_PLAIN] = {{{"", 1}}, "a whole number"},
    [CFG_NUMBER_DURATION] = {{{"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {"", 1000}},
                             "a duration such as 500ms, 30s, 5m or 1h"},
    [CFG_NUMBER_SIZE] = {{{"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}, {"", 1}},
                         "a size such as 4096, 64K, 512M or 1G"},
    [CFG_NUMBER_OCTAL] = {{{"", 1}}, "an octal number such as 0660"},
};

enum scan { SCAN_WELL, SCAN_WRONG, SCAN_TOO_LARGE };

static bool is_digit(char c, unsigned base)
{
    return c >= '0' && c < (char)('0' + base);
}

/* Reads digits; *end is the first byte behind them. */
static enum scan scan_digits(const char *text, unsigned base, int64_t *out, const char **end)
{
    enum scan outcome = is_digit(*text, base) ? SCAN_WELL : SCAN_WRONG;
    int64_t value = 0;
    for (; is_digit(*text, base); text++) {
        if (__builtin_mul_overflow(value, (int64_t)base, &value) ||
            __builtin_add_overflow(value, (int64_t)(*text - '0'), &value))
            outcome = SCAN_TOO_LARGE;
    }
    *out = value;
    *end = text;
    return outcome;
}

static const struct unit *find_unit(const struct number_kind *kind, const char *name)
{
    for (size_t i = 0; i < 5 && kind->units[i].name != NULL; i++) {
        if (strcmp(kind->units[i].name, name) == 0)
            return &kind->units[i];
    }
    return NULL;
}

static enum scan scan_decimal(const struct number_kind *kind, const char *text, int64_t *out)
{
    bool is_negative = text[0] == '-';
    const char *digits = text + is_negative, *end;
    enum scan outcome = scan_digits(digits, 10, out, &end);
    if (outcome == SCAN_WRONG || (digits[0] == '0' && end - digits > 1))
        return SCAN_WRONG;
    const struct unit *unit = find_unit(kind, end);
    if (unit == NULL)
        return SCAN_WRONG;
    if (outcome == SCAN_WELL && __builtin_mul_overflow(*out, unit->factor, out))
        outcome = SCAN_TOO_LARGE;
    if (outcome == SCAN_WELL && is_negative)
        *out = -*out;
    return outcome;
}

static enum scan scan_octal(const char *text, int64_t *out)
{
    const char *digits = strncmp(text, "0o", 2) == 0 ? text + 2 : text, *end;
    enum scan outcome = scan_digits(digits, 8, out, &end);
    return *end == '\0' ? outcome : SCAN_WRONG;
}

int cfg_value_number(enum cfg_number kind, const char *text, int64_t min, int64_t max, int64_t *out,
                     struct err *e)
{
    const struct number_kind *k = &number_kinds[kind];
    int64_t value = 0;
    enum scan outcome = kind == CFG_NUMBER_OCTAL ? scan_octal(text, &value) : scan_decimal(k, text, &value);
    if (outcome == SCAN_WRONG)
        return err_set(e, "\"%.120s\" is not %s", text, k->wanted);
    if (outcome == SCAN_TOO_LARGE || value < min || value > max) {
        char low[CFG_NUMBER_TEXT_MAX], high[CFG_NUMBER_TEXT_MAX];
        cfg_value_format(kind, min, low);
        cfg_value_format(kind, max, high);
        return err_set(e, "%.120s is out of range (%s to %s)", text, low, high);
    }
    *out = value;
    return 0;
}

int cfg_value_bool(const char *text, bool *out, struct err *e)
{
    static const char *const words[][3] = {
        {"false", "no", "off"}, {"False", "No", "Off"}, {"FALSE", "NO", "OFF"},
        {"true", "yes", "on"},  {"True", "Yes", "On"},  {"TRUE", "YES", "ON"},
    };
    for (size_t i = 0; i < 6; i++) {
        for (size_t j = 0; j < 3; j++) {
            if (strcmp(words[i][j], text) == 0) {
                *out = i >= 3;
                return 0;
            }
        }
    }
    return err_set(e, "\"%.120s\" is neither true nor false", text);
}

static const char *nearest_word(const char *text, const char *const *words)
{
    for (; *words != NULL; words++) {
        if ((size_t)cfg_text_distance(text, *words) * 2 < strlen(*words))
            return *words;
    }
    return NULL;
}

static int find_word(const char *text, const char *const *words)
{
    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(text, words[i]) == 0)
            return i;
    }
    return -1;
}

int cfg_value_word(const char *text, const char *const *words, int *out, struct err *e)
{
    struct err ignored;
    bool is_true;
    int found = find_word(text, words);
    if (found < 0 && cfg_value_bool(text, &is_true, &ignored) == 0)
        found = find_word(is_true ? "true" : "false", words);
    if (found >= 0) {
        *out = found;
        return 0;
    }

    char known[256] = "";
    for (size_t i = 0, used = 0; words[i] != NULL && used < sizeof(known); i++)
        used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i == 0 ? "" : ", ", words[i]);
    const char *nearest = nearest_word(text, words);
    if (nearest != NULL)
        return err_set(e, "\"%.120s\" is none of %s (did you mean \"%s\"?)", text, known, nearest);
    return err_set(e, "\"%.120s\" is none of %s", text, known);
}

void cfg_value_format(enum cfg_number kind, int64_t number, char text[CFG_NUMBER_TEXT_MAX])
{
    const struct unit *unit = number_kinds[kind].units;
    if (kind == CFG_NUMBER_OCTAL) {
        snprintf(text, CFG_NUMBER_TEXT_MAX, number == 0 ? "0" : "0%03" PRIo64, (uint64_t)number);
        return;
    }
    if (number == 0 || kind == CFG_NUMBER_PLAIN) {
        snprintf(text, CFG_NUMBER_TEXT_MAX, "%" PRId64, number);
        return;
    }
    while (number % unit->factor != 0)
        unit++;
    snprintf(text, CFG_NUMBER_TEXT_MAX, "%" PRId64 "%s", number / unit->factor, unit->name);
}
