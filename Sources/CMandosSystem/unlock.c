#define _GNU_SOURCE
#include "CMandosSystem.h"

#include <sys/file.h>
#include <sys/ioctl.h>

int cmandos_lock(int descriptor) { return flock(descriptor, LOCK_EX | LOCK_NB); }

int cmandos_unread(int descriptor) {
    int count = 0;
    return ioctl(descriptor, FIONREAD, &count) < 0 ? -1 : count;
}
