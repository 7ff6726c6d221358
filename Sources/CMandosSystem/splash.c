#define _GNU_SOURCE
#include "CMandosSystem.h"

#include <sched.h>
#include <string.h>
#include <sys/syscall.h>

int cmandos_pidfd_signal(int descriptor, int signal_number) {
    return (int)syscall(SYS_pidfd_send_signal, descriptor, signal_number, NULL, 0);
}

void cmandos_take_limits_of(pid_t pid) {
    for (int resource = 0; resource < RLIM_NLIMITS; resource++) {
        struct rlimit limit;
        if (prlimit(pid, resource, NULL, &limit) == 0) setrlimit(resource, &limit);
    }
}

void cmandos_take_plain_limits(void) {
    // What programs expect; select(2) takes no more.
    const rlim_t files = 1024;
    struct rlimit limit;
    cmandos_take_limits_of(1);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > files) {
        limit.rlim_cur = files;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

void cmandos_take_plain_scheduling(void) {
    const struct sched_param parameters = {0};
    cpu_set_t all;
    memset(&all, 0xFF, sizeof all);
    sched_setscheduler(0, SCHED_OTHER, &parameters);
    sched_setaffinity(0, sizeof all, &all);
    setpriority(PRIO_PROCESS, 0, 0);
}

int cmandos_spawn_in_session(void) { return POSIX_SPAWN_SETSID; }
