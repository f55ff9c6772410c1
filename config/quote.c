/* Quotes strings for YAML.
 *
 * Whatever could be taken for something else is quoted, and characters that are not shown become escapes: the
 * file looks like what it says. Pure. */
#include "config/quote.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "config/text.h"
#include "config/value.h"

/* Text that no YAML reader takes for anything but this string. */
static bool is_plain_string(const char *text)
{
    struct err ignored;
    bool is_true;
    size_t length = strlen(text);
    if (length == 0 || !(isalpha((unsigned char)text[0]) || text[0] == '/') || text[length - 1] == ':')
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!isascii((unsigned char)text[i]) ||
            !(isalnum((unsigned char)text[i]) || strchr("/_.:@+-", text[i]) != NULL))
            return false;
    }
    return strcasecmp(text, "null") != 0 && strcasecmp(text, "y") != 0 && strcasecmp(text, "n") != 0 &&
           cfg_value_bool(text, &is_true, &ignored) != 0;
}

static void print_quoted(const char *text, bool doubles_dollars, FILE *out)
{
    size_t size = strlen(text);
    fputc('"', out);
    for (size_t i = 0; i < size;) {
        uint32_t c;
        size_t length = cfg_text_decode(text + i, size - i, &c);
        if (length == 0) {
            c = (unsigned char)text[i];
            length = 1;
        }
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", (char)c);
        else if (c == '$' && doubles_dollars)
            fputs("$$", out);
        else if (c == '\n')
            fputs("\\n", out);
        else if (cfg_text_is_shown(c))
            fwrite(text + i, 1, length, out);
        else
            fprintf(out, c < 0x100 ? "\\x%02" PRIX32 : c < 0x10000 ? "\\u%04" PRIX32 : "\\U%08" PRIX32, c);
        i += length;
    }
    fputc('"', out);
}

void cfg_quote(const char *text, bool doubles_dollars, FILE *out)
{
    if (is_plain_string(text))
        fputs(text, out);
    else
        print_quoted(text, doubles_dollars, out);
}
