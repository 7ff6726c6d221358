#define _GNU_SOURCE
#include "CMandosSystem.h"

#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/time.h>

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

void cmandos_raise_file_limit(unsigned files) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= files) return;
    limit.rlim_cur = limit.rlim_max < files ? limit.rlim_max : files;
    setrlimit(RLIMIT_NOFILE, &limit);
}

void cmandos_take_plain_scheduling(void) {
    const struct sched_param parameters = {0};
    cpu_set_t all;
    memset(&all, 0xFF, sizeof all);
    sched_setscheduler(0, SCHED_OTHER, &parameters);
    sched_setaffinity(0, sizeof all, &all);
    setpriority(PRIO_PROCESS, 0, 0);
}

// Confinement of the process that reads multicast DNS.

void cmandos_end_after_processor_time(unsigned seconds) {
    setitimer(ITIMER_PROF, &(struct itimerval){.it_value = {.tv_sec = seconds}}, NULL);
}

int cmandos_limit_resources(size_t memory, unsigned files, _Bool writes_files) {
    const struct {
        int resource;
        rlim_t limit;
    } limits[] = {{RLIMIT_DATA, memory}, {RLIMIT_NOFILE, files}, {RLIMIT_NPROC, 0},
                  {RLIMIT_FSIZE, writes_files ? RLIM_INFINITY : 0}, {RLIMIT_CORE, 0}};
    for (size_t index = 0; index < sizeof limits / sizeof *limits; index++) {
        struct rlimit now, limit = {limits[index].limit, limits[index].limit};
        // Without privileges, a hard limit cannot be raised.
        if (getrlimit(limits[index].resource, &now) == 0 && now.rlim_max < limit.rlim_max)
            limit.rlim_cur = limit.rlim_max = now.rlim_max;
        if (setrlimit(limits[index].resource, &limit) < 0) return -1;
    }
    return 0;
}

#if defined __x86_64__
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined __aarch64__
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#ifdef ARCHITECTURE

// The longest program has about 150 instructions.
struct program {
    struct sock_filter code[256];
    unsigned short length;
};

static void add(struct program *program, unsigned short code, unsigned value, unsigned char if_so, unsigned char if_not) {
    program->code[program->length++] = (struct sock_filter){code, if_so, if_not, value};
}

static void load(struct program *program, unsigned offset) { add(program, BPF_LD | BPF_W | BPF_ABS, offset, 0, 0); }

// The lower half of an argument, which is all of it for those that are looked at.
static void load_argument(struct program *program, unsigned index) {
    load(program, (unsigned)(offsetof(struct seccomp_data, args) + index * sizeof(uint64_t)));
}

// Skips `others` instructions unless the loaded value is `value`.
static void skip_unless(struct program *program, unsigned value, unsigned char others) {
    add(program, BPF_JMP | BPF_JEQ | BPF_K, value, 0, others);
}

static void mask(struct program *program, unsigned bits) { add(program, BPF_ALU | BPF_AND | BPF_K, bits, 0, 0); }

static void allow(struct program *program) { add(program, BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0); }

static void fail(struct program *program, unsigned error) {
    add(program, BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error, 0, 0);
}

static void allow_call(struct program *program, long call) {
    skip_unless(program, (unsigned)call, 1);
    allow(program);
}

// Allows a call if those `bits` of an argument are one of `values`.
static void allow_call_if(
    struct program *program, long call, unsigned argument, unsigned bits, const unsigned *values, unsigned char count) {
    skip_unless(program, (unsigned)call, (unsigned char)(2 * count + 3));
    load_argument(program, argument);
    mask(program, bits);
    for (unsigned index = 0; index < count; index++) {
        skip_unless(program, values[index], 1);
        allow(program);
    }
    fail(program, EPERM);
}

// Allows sockets for UDP, and for what the kernel tells about interfaces.
static void allow_sockets(struct program *program) {
    skip_unless(program, SYS_socket, 14);
    load_argument(program, 0);
    skip_unless(program, AF_NETLINK, 4);
    load_argument(program, 2);
    skip_unless(program, NETLINK_ROUTE, 1);
    allow(program);
    fail(program, EPERM);
    add(program, BPF_JMP | BPF_JEQ | BPF_K, AF_INET, 1, 0);
    skip_unless(program, AF_INET6, 5);
    load_argument(program, 1);
    mask(program, 0xF);
    skip_unless(program, SOCK_DGRAM, 1);
    allow(program);
    fail(program, EPERM);
    fail(program, EAFNOSUPPORT);
}

static const long calls[] = {
    // Memory and descriptors that exist already.
    SYS_brk, SYS_munmap, SYS_mremap, SYS_madvise, SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_close, SYS_fstat, SYS_pipe2,
    // Packets and messages.
    SYS_bind, SYS_getsockname, SYS_getsockopt, SYS_sendto, SYS_sendmsg, SYS_recvfrom, SYS_recvmsg,
    // Waiting, and the time.
    SYS_ppoll, SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday, SYS_nanosleep, SYS_clock_nanosleep, SYS_restart_syscall,
    SYS_setitimer, SYS_sched_yield, SYS_futex,
    // About ourselves.
    SYS_getpid, SYS_gettid, SYS_getppid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_uname, SYS_sysinfo,
    SYS_getrandom, SYS_sched_getaffinity,
    // Crashes and other ends.
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sigaltstack, SYS_exit, SYS_exit_group,
#ifdef SYS_poll
    SYS_poll, SYS_pipe, SYS_time,
#endif
};

int cmandos_allow_only_datagrams(void) {
    struct program program = {.length = 0};
    load(&program, offsetof(struct seccomp_data, arch));
    // Calls by another architecture's numbers, such as i386's on x86-64.
    skip_unless(&program, ARCHITECTURE, 1);
    add(&program, BPF_JMP | BPF_JA, 1, 0, 0);
    fail(&program, ENOSYS);
    load(&program, offsetof(struct seccomp_data, nr));
    for (size_t index = 0; index < sizeof calls / sizeof *calls; index++) allow_call(&program, calls[index]);
    allow_sockets(&program);
    const unsigned none[] = {0}, own_process[] = {(unsigned)getpid()};
    const unsigned levels[] = {SOL_SOCKET, IPPROTO_IP, IPPROTO_IPV6};
    const unsigned requests[] = {FIONREAD, SIOCGIFFLAGS, SIOCGIFNAME, SIOCGIFINDEX};
    const unsigned flags[] = {F_GETFD, F_SETFD, F_GETFL, F_SETFL};
    allow_call_if(&program, SYS_mmap, 2, PROT_EXEC, none, 1);
    allow_call_if(&program, SYS_mprotect, 2, PROT_EXEC, none, 1);
    allow_call_if(&program, SYS_setsockopt, 1, ~0U, levels, 3);
    allow_call_if(&program, SYS_ioctl, 1, ~0U, requests, 4);
    allow_call_if(&program, SYS_fcntl, 1, ~0U, flags, 4);
    // For abort(3).
    allow_call_if(&program, SYS_tgkill, 0, ~0U, own_process, 1);
    // Not a crash: a C library that tries a newer call goes on with an older one.
    fail(&program, ENOSYS);
    struct sock_fprog filter = {program.length, program.code};
    return prctl(PR_SET_SECCOMP, (long)SECCOMP_MODE_FILTER, &filter, 0L, 0L);
}

#else

int cmandos_allow_only_datagrams(void) {
    errno = ENOSYS;
    return -1;
}

#endif
