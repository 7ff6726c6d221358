#define _GNU_SOURCE
#include "CMandosSystem.h"

#include <grp.h>
#include <sys/syscall.h>
#include <syslog.h>

static int argument_count;
static char **arguments;

// The C library passes main's arguments to constructors too.
__attribute__((constructor)) static void keep_arguments(int count, char **values) {
    argument_count = count;
    arguments = values;
}

int cmandos_argument_count(void) { return argument_count; }
char **cmandos_arguments(void) { return arguments; }

char **cmandos_environment(void) { return environ; }

int cmandos_errno(void) { return errno; }

int cmandos_open(const char *path, int flags, mode_t mode) { return open(path, flags, mode); }

int cmandos_open_path(const char *path) { return open(path, O_PATH | O_CLOEXEC); }

int cmandos_set_nonblocking(int descriptor) {
    int flags = fcntl(descriptor, F_GETFL);
    return flags < 0 ? flags : fcntl(descriptor, F_SETFL, flags | O_NONBLOCK);
}

_Bool cmandos_is_open(int descriptor) { return fcntl(descriptor, F_GETFD) >= 0; }

int cmandos_no_core_dumps(void) { return prctl(PR_SET_DUMPABLE, 0L, 0L, 0L, 0L); }

int cmandos_no_new_privileges(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L); }

int cmandos_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }
void cmandos_wipe(void *memory, size_t size) { explicit_bzero(memory, size); }
int cmandos_set_user_ids(uid_t user) { return setresuid(user, user, user); }
int cmandos_set_group_ids(gid_t group) { return setresgid(group, group, group); }
// Where there are none, nothing has to be allowed.
int cmandos_drop_groups(void) { return getgroups(0, NULL) == 0 ? 0 : setgroups(0, NULL); }
int cmandos_pipe(int descriptors[2]) { return pipe2(descriptors, O_CLOEXEC); }

int cmandos_exit_status(int wait_status) { return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1; }
int cmandos_ending_signal(int wait_status) { return WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0; }

void cmandos_ignore_signal(int signal_number) { signal(signal_number, SIG_IGN); }
_Bool cmandos_is_ignored(int signal_number) {
    struct sigaction action;
    return sigaction(signal_number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}
void cmandos_default_signal(int signal_number) { signal(signal_number, SIG_DFL); }

char *cmandos_option_value(void) { return optarg; }
int cmandos_option_index(void) { return optind; }
// We say ourselves what is wrong.
void cmandos_begin_options(void) { optind = 0, opterr = 0; }
int cmandos_unknown_option(void) {
    int unknown = optopt;
    // It is not set for every one.
    optopt = 0;
    return unknown;
}

void cmandos_spawn_close_from(posix_spawn_file_actions_t *actions, int first) {
    posix_spawn_file_actions_addclosefrom_np(actions, first);
}
void cmandos_spawn_change_directory(posix_spawn_file_actions_t *actions, const char *path) {
    posix_spawn_file_actions_addchdir_np(actions, path);
}
void cmandos_close_range(unsigned first, unsigned last) { close_range(first, last, 0); }
int cmandos_memory_file(const char *name) { return memfd_create(name, MFD_CLOEXEC); }
void cmandos_set_name(const char *name) { prctl(PR_SET_NAME, name); }

pid_t cmandos_fork(void) { return fork(); }
pid_t cmandos_fork_bound(int signal_number) {
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, (long)signal_number, 0L, 0L, 0L);
        if (getppid() != parent) _exit(1);
    }
    return child;
}

void cmandos_open_log(const char *name) { openlog(name, LOG_PID | LOG_NDELAY, LOG_DAEMON); }
void cmandos_log(int priority, const char *text) { syslog(priority, "%s", text); }
