#define _GNU_SOURCE
#include "CMandosSystem.h"

#include <sys/klog.h>
#include <syslog.h>

void cmandos_wipe(void *memory, size_t size) { explicit_bzero(memory, size); }

void cmandos_set_name(const char *name) { prctl(PR_SET_NAME, name); }

void cmandos_open_log(const char *name) { openlog(name, LOG_PID | LOG_NDELAY, LOG_DAEMON); }
void cmandos_log(int priority, const char *text) { syslog(priority, "%s", text); }

int cmandos_set_console_level(int level) { return klogctl(8, NULL, level); }
