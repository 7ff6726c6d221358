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

// Linux before 5.9 has no close_range(2), and before 5.11 it refuses to set close-on-exec.
static void for_each_open(unsigned first, unsigned last, void (*act)(int)) {
    DIR *list = opendir("/proc/self/fd");
    if (list == NULL) {
        // The usual limits; a descriptor beyond them is not ours.
        for (unsigned number = first; number <= last && number < 65536; number++) act((int)number);
        return;
    }
    struct dirent *entry;
    while ((entry = readdir(list)) != NULL) {
        unsigned long number = strtoul(entry->d_name, NULL, 10);
        if (entry->d_name[0] != '.' && number >= first && number <= last && (int)number != dirfd(list)) act((int)number);
    }
    closedir(list);
}

static void close_one(int descriptor) { close(descriptor); }
static void close_one_on_exec(int descriptor) { fcntl(descriptor, F_SETFD, FD_CLOEXEC); }

void cmandos_close_range(unsigned first, unsigned last) {
    if (close_range(first, last, 0) < 0) for_each_open(first, last, close_one);
}
void cmandos_close_on_exec_from(unsigned first) {
    if (close_range(first, ~0U, CLOSE_RANGE_CLOEXEC) < 0) for_each_open(first, ~0U, close_one_on_exec);
}

int cmandos_lock(int descriptor) { return flock(descriptor, LOCK_EX | LOCK_NB); }

int cmandos_unread(int descriptor) {
    int count = 0;
    return ioctl(descriptor, FIONREAD, &count) < 0 ? -1 : count;
}
