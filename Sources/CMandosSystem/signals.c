#define _GNU_SOURCE
#include "CMandosSystem.h"

#include <sys/syscall.h>

void cmandos_ignore_signal(int signal_number) { signal(signal_number, SIG_IGN); }
_Bool cmandos_is_ignored(int signal_number) {
    struct sigaction action;
    return sigaction(signal_number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}
void cmandos_default_signal(int signal_number) { signal(signal_number, SIG_DFL); }

int cmandos_child_signals(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    signal(SIGCHLD, SIG_DFL);
    return sigprocmask(SIG_BLOCK, &set, NULL) < 0 ? -1 : signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int cmandos_pidfd_signal(int descriptor, int signal_number) {
    return (int)syscall(SYS_pidfd_send_signal, descriptor, signal_number, NULL, 0);
}
