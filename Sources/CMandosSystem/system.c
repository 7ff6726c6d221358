#define _GNU_SOURCE
#include "CMandosSystem.h"

#include <linux/magic.h>
#include <sys/klog.h>
#include <sys/vfs.h>
#include <syslog.h>

void cmandos_wipe(void *memory, size_t size) { explicit_bzero(memory, size); }

void cmandos_set_name(const char *name) { prctl(PR_SET_NAME, name); }

void cmandos_open_log(const char *name) { openlog(name, LOG_PID | LOG_NDELAY, LOG_DAEMON); }
void cmandos_log(int priority, const char *text) { syslog(priority, "%s", text); }

int cmandos_set_console_level(int level) { return klogctl(8, NULL, level); }

_Bool cmandos_is_initramfs(void) {
    struct statfs root;
    return statfs("/", &root) == 0 && (root.f_type == RAMFS_MAGIC || root.f_type == TMPFS_MAGIC) && access("/init", X_OK) == 0;
}
