#define _GNU_SOURCE
#include "CMandosSystem.h"

#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/syscall.h>

int cmandos_no_core_dumps(void) { return prctl(PR_SET_DUMPABLE, 0L, 0L, 0L, 0L); }

int cmandos_no_new_privileges(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L); }

// What the kernel forgets when a process changes its user or group.
struct forgotten {
    int is_dumpable, parent_death_signal;
    pid_t parent;
};

static struct forgotten remember(void) {
    struct forgotten former = {prctl(PR_GET_DUMPABLE, 0L, 0L, 0L, 0L), 0, getppid()};
    prctl(PR_GET_PDEATHSIG, &former.parent_death_signal, 0L, 0L, 0L);
    return former;
}

static int restore(struct forgotten former, int result) {
    if (result < 0) return result;
    if (former.is_dumpable == 0 && cmandos_no_core_dumps() < 0) return -1;
    if (former.parent_death_signal != 0) {
        prctl(PR_SET_PDEATHSIG, (long)former.parent_death_signal, 0L, 0L, 0L);
        // Our parent may have ended meanwhile.
        if (getppid() != former.parent) raise(former.parent_death_signal);
    }
    return result;
}

int cmandos_set_user_ids(uid_t user) {
    struct forgotten former = remember();
    return restore(former, setresuid(user, user, user));
}

int cmandos_set_group_ids(gid_t group) {
    struct forgotten former = remember();
    return restore(former, setresgid(group, group, group));
}

// Without supplementary groups, no privilege is needed.
int cmandos_drop_groups(void) { return getgroups(0, NULL) == 0 ? 0 : setgroups(0, NULL); }

int cmandos_keep_at_change_of_user(void) { return prctl(PR_SET_KEEPCAPS, 1L, 0L, 0L, 0L); }

unsigned long cmandos_capabilities(void) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) < 0) return 0;
    return data[0].permitted | (unsigned long)data[1].permitted << 32;
}

int cmandos_limit_capabilities(unsigned long mask) {
    for (int capability = 0; capability < 64; capability++) {
        if (mask >> capability & 1) continue;
        if (prctl(PR_CAPBSET_DROP, (unsigned long)capability, 0L, 0L, 0L) < 0) {
            if (errno == EINVAL) break;  // the kernel has no more capabilities
            return -1;
        }
    }
    return 0;
}

int cmandos_set_capabilities(unsigned long mask) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    mask &= cmandos_capabilities();
    for (int half = 0; half < 2; half++) {
        data[half].effective = data[half].permitted = (uint32_t)(mask >> 32 * half);
        data[half].inheritable = 0;
    }
    return (int)syscall(SYS_capset, &header, data);
}

void cmandos_take_limits_of(pid_t pid) {
    for (int resource = 0; resource < RLIM_NLIMITS; resource++) {
        struct rlimit limit;
        if (prlimit(pid, resource, NULL, &limit) == 0) setrlimit(resource, &limit);
    }
}

void cmandos_take_plain_limits(void) {
    // The usual limit, which programs expect; select(2) supports no more.
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
