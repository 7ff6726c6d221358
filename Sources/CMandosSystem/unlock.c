#define _GNU_SOURCE
#include "CMandosSystem.h"

#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>

int cmandos_watch_opens(const char *directory) {
    int descriptor = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (descriptor < 0) return -1;
    if (inotify_add_watch(descriptor, directory, IN_OPEN | IN_ONLYDIR) >= 0) return descriptor;
    int code = errno;
    close(descriptor);
    errno = code;
    return -1;
}

int cmandos_lock(int descriptor) { return flock(descriptor, LOCK_EX | LOCK_NB); }

int cmandos_unread(int descriptor) {
    int count = 0;
    return ioctl(descriptor, FIONREAD, &count) < 0 ? -1 : count;
}

char **cmandos_environment(void) { return environ; }
