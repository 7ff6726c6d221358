#define _GNU_SOURCE
#include "CMandosSystem.h"

#include <sys/file.h>
#include <sys/ioctl.h>

int cmandos_errno(void) { return errno; }

struct dirent *cmandos_next_entry(DIR *directory) {
    errno = 0;
    return readdir(directory);
}

int cmandos_open(const char *path, int flags, mode_t mode) { return open(path, flags, mode); }

int cmandos_open_path(const char *path) { return open(path, O_PATH | O_CLOEXEC); }

int cmandos_open_entry(int directory, const char *name) { return openat(directory, name, O_PATH | O_NOFOLLOW | O_CLOEXEC); }

int cmandos_give(int descriptor, uid_t user, gid_t group) { return fchownat(descriptor, "", user, group, AT_EMPTY_PATH); }

int cmandos_set_nonblocking(int descriptor) {
    int flags = fcntl(descriptor, F_GETFL);
    return flags < 0 ? flags : fcntl(descriptor, F_SETFL, flags | O_NONBLOCK);
}

_Bool cmandos_is_open(int descriptor) { return fcntl(descriptor, F_GETFD) >= 0; }

int cmandos_pipe(int descriptors[2]) { return pipe2(descriptors, O_CLOEXEC); }

int cmandos_memory_file(const char *name) { return memfd_create(name, MFD_CLOEXEC); }

void cmandos_close_range(unsigned first, unsigned last) { close_range(first, last, 0); }

int cmandos_lock(int descriptor) { return flock(descriptor, LOCK_EX | LOCK_NB); }

int cmandos_unread(int descriptor) {
    int count = 0;
    return ioctl(descriptor, FIONREAD, &count) < 0 ? -1 : count;
}
