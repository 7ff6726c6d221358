#define _GNU_SOURCE
#include "CMandosSystem.h"

#include <sys/syscall.h>

// Where pidfd_open(2) is missing (Linux before 5.3) or refused (sandboxes), a thread waits for the end of a process, and then closes
// its end of a pipe.
struct watch {
    pid_t child;    // or 0
    int directory;  // of the process in /proc, which is never that of a later process with the same ID; or -1
    int writing;
};

static _Bool has_ended(int directory) {
    char state[512];
    int file = openat(directory, "stat", O_RDONLY | O_CLOEXEC);
    if (file < 0) return 1;
    ssize_t count = read(file, state, sizeof state - 1);
    close(file);
    if (count <= 0) return 1;
    state[count] = 0;
    // The name before the state may contain anything. Source: proc(5).
    char *end = strrchr(state, ')');
    return end != NULL && (end[2] == 'Z' || end[2] == 'X');
}

static void *wait_for_end(void *argument) {
    struct watch watch = *(struct watch *)argument;
    free(argument);
    if (watch.child > 0) {
        siginfo_t information;
        // Fails once the status has been collected.
        while (waitid(P_PID, (id_t)watch.child, &information, WEXITED | WNOWAIT) < 0 && errno == EINTR) {}
    } else {
        // Until nobody has the other end any more.
        struct pollfd end = {.fd = watch.writing};
        while (!has_ended(watch.directory) && poll(&end, 1, 100) <= 0) {}
        close(watch.directory);
    }
    close(watch.writing);
    return NULL;
}

static int start(struct watch watch) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return -1;
    watch.writing = ends[1];
    struct watch *copy = malloc(sizeof watch);
    pthread_t thread;
    sigset_t all, former;
    sigfillset(&all);
    // Signals are for the other threads.
    pthread_sigmask(SIG_SETMASK, &all, &former);
    int error = ENOMEM;
    if (copy != NULL) {
        *copy = watch;
        error = pthread_create(&thread, NULL, wait_for_end, copy);
    }
    pthread_sigmask(SIG_SETMASK, &former, NULL);
    if (error == 0) {
        pthread_detach(thread);
        return ends[0];
    }
    free(copy);
    close(ends[0]);
    close(ends[1]);
    errno = error;
    return -1;
}

static int pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }

static _Bool is_refused(void) { return errno == ENOSYS || errno == EPERM || errno == EACCES; }

int cmandos_watch_child(pid_t pid) {
    int descriptor = pidfd_open(pid);
    return descriptor >= 0 || !is_refused() ? descriptor : start((struct watch){.child = pid, .directory = -1});
}

int cmandos_watch_process(pid_t pid) {
    int descriptor = pidfd_open(pid);
    if (descriptor >= 0 || !is_refused()) return descriptor;
    int directory = cmandos_process_directory(pid);
    if (directory < 0) return -1;
    descriptor = start((struct watch){.directory = directory});
    if (descriptor < 0) close(directory);
    return descriptor;
}

int cmandos_process_directory(pid_t pid) {
    char path[32];
    snprintf(path, sizeof path, "/proc/%d", pid);
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0 && errno == ENOENT && access("/proc/self", F_OK) == 0) errno = ESRCH;
    return directory;
}
