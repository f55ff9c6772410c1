/* Build-time program: prints pyfpm.yaml(5) or the annotated example, which both come from the table. */
#include <stdio.h>
#include <string.h>

#include "config/config.h"

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "man") == 0) {
        cfg_print_manual(stdout);
    } else if (argc == 2 && strcmp(argv[1], "example") == 0) {
        cfg_print_example(stdout);
    } else {
        fprintf(stderr, "usage: cfg-manual man|example\n");
        return 64;
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
