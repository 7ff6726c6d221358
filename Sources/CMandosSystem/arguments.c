#define _GNU_SOURCE
#include "CMandosSystem.h"

static int argument_count;
static char **arguments;

// The C library passes main's arguments to constructors too.
__attribute__((constructor)) static void keep_arguments(int count, char **values) {
    argument_count = count;
    arguments = values;
}

int cmandos_argument_count(void) { return argument_count; }
char **cmandos_arguments(void) { return arguments; }

char **cmandos_environment(void) { return environ; }

char *cmandos_option_value(void) { return optarg; }
int cmandos_option_index(void) { return optind; }
// opterr is 0, since we report errors ourselves; optind is 0 to start a new scan.
void cmandos_begin_options(void) { optind = 0, opterr = 0; }
int cmandos_unknown_option(void) {
    int unknown = optopt;
    // getopt does not set it for every unknown option.
    optopt = 0;
    return unknown;
}
