#define _GNU_SOURCE
#include "CMandosSystem.h"

#include <grp.h>
#include <sys/syscall.h>

void cmandos_spawn_close_from(posix_spawn_file_actions_t *actions, int first) {
    posix_spawn_file_actions_addclosefrom_np(actions, first);
}
void cmandos_spawn_change_directory(posix_spawn_file_actions_t *actions, const char *path) {
    posix_spawn_file_actions_addchdir_np(actions, path);
}

int cmandos_spawn_in_session(void) { return POSIX_SPAWN_SETSID; }

pid_t cmandos_fork(void) { return fork(); }
pid_t cmandos_fork_bound(int signal_number) {
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, (long)signal_number, 0L, 0L, 0L);
        if (getppid() != parent) _exit(1);
    }
    return child;
}

void cmandos_adopt_orphans(void) { prctl(PR_SET_CHILD_SUBREAPER, 1L, 0L, 0L, 0L); }

struct failure {
    enum cmandos_client_step step;
    int error;
};

// Runs in the forked child, since posix_spawn(3) cannot change the real IDs.
static struct failure become_client(
    const char *path, char *const *arguments, int input, int output, uid_t user, gid_t group) {
    struct failure failure = {CMANDOS_CLIENT_FORK, 0};
    setpgid(0, 0);
    for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0) goto failed;
    // The client gets no other descriptor, neither ours nor one inherited from the program that started us.
    cmandos_close_on_exec_from(STDERR_FILENO + 1);
    failure.step = CMANDOS_CLIENT_IDS;
    // An unprivileged user must not have root's groups. Without supplementary groups, no privilege is needed.
    if (getgroups(0, NULL) > 0 && setgroups(0, NULL) < 0) goto failed;
    if (setresgid(group, (gid_t)-1, (gid_t)-1) < 0 || setresuid(user, (uid_t)-1, (uid_t)-1) < 0) goto failed;
    failure.step = CMANDOS_CLIENT_EXEC;
    execv(path, arguments);
failed:
    failure.error = errno;
    return failure;
}

pid_t cmandos_start_client(
    const char *path, char *const *arguments, int input, int output, uid_t user, gid_t group,
    enum cmandos_client_step *step) {
    *step = CMANDOS_CLIENT_FORK;
    // Closed by a successful exec; otherwise carries the reason for the failure.
    int news[2];
    if (pipe2(news, O_CLOEXEC) < 0) return -1;
    pid_t child = fork();
    if (child == 0) {
        struct failure failure = become_client(path, arguments, input, output, user, group);
        ssize_t written = write(news[1], &failure, sizeof failure);
        _exit(written == sizeof failure ? 126 : 127);
    }
    int error = errno;
    close(news[1]);
    if (child > 0) {
        // In the parent too: whichever process is first, the group exists when we continue.
        setpgid(child, child);
        struct failure failure;
        ssize_t count;
        while ((count = read(news[0], &failure, sizeof failure)) < 0 && errno == EINTR) {}
        if (count == sizeof failure) {
            *step = failure.step;
            error = failure.error;
            while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {}
            child = -1;
        }
    }
    close(news[0]);
    errno = error;
    return child;
}
