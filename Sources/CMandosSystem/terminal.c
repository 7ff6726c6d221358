#define _GNU_SOURCE
#include "CMandosSystem.h"

#include <sys/ioctl.h>
#include <time.h>

static int hidden = -1;
static struct termios former;

static void show_input(int signal_number) {
    tcsetattr(hidden, TCSANOW, &former);
    // A half-typed password is not for the next reader.
    tcflush(hidden, TCIFLUSH);
    // SA_RESETHAND has restored the default action.
    raise(signal_number);
}

// Signals that end a process by default and are not blocked by StopSignals.
static const int deadly[] = {SIGILL,  SIGTRAP,   SIGABRT, SIGBUS,  SIGFPE,  SIGSEGV, SIGSYS,    SIGUSR1,
                             SIGUSR2, SIGALRM,   SIGIO,   SIGPROF, SIGPWR,  SIGXCPU, SIGVTALRM, SIGXFSZ,
                             SIGSTKFLT};

static void set_actions(void (*from)(int), void (*to)(int), int flags) {
    struct sigaction action = {.sa_handler = to, .sa_flags = flags}, old;
    for (size_t index = 0; index < sizeof deadly / sizeof *deadly; index++) {
        if (sigaction(deadly[index], NULL, &old) == 0 && old.sa_handler == from) sigaction(deadly[index], &action, NULL);
    }
    for (int number = SIGRTMIN; number <= SIGRTMAX; number++) {
        if (sigaction(number, NULL, &old) == 0 && old.sa_handler == from) sigaction(number, &action, NULL);
    }
}

void cmandos_show_input_when_killed(int descriptor, const struct termios *settings) {
    hidden = descriptor;
    former = *settings;
    set_actions(SIG_DFL, show_input, SA_RESETHAND | SA_NODEFER);
}

void cmandos_input_is_shown(void) { set_actions(show_input, SIG_DFL, 0); }

int cmandos_claim_terminal(int descriptor) {
    unsigned device;
    if (ioctl(descriptor, TIOCGDEV, &device) < 0) return -1;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    // The zero byte before the name makes it abstract: it is no file. Source: unix(7).
    int length = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "mandos-prompt-%x", device);
    int claim = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (claim < 0) return -1;
    if (bind(claim, (struct sockaddr *)&address, (socklen_t)(sizeof address.sun_family + 1 + (size_t)length)) == 0) return claim;
    int error = errno;
    close(claim);
    errno = error;
    return -1;
}

static void wake(int signal_number) { (void)signal_number; }

ssize_t cmandos_read_briefly(int descriptor, void *buffer, size_t size) {
    const int number = SIGRTMAX;
    const struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};
    const struct itimerspec pauses = {.it_interval = pause, .it_value = pause};
    // Without SA_RESTART, so that the signal interrupts the read.
    struct sigaction action = {.sa_handler = wake}, old_action;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = number};
    sigset_t set, old_set;
    timer_t timer;
    sigemptyset(&set);
    sigaddset(&set, number);
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) < 0) return read(descriptor, buffer, size);
    sigaction(number, &action, &old_action);
    sigprocmask(SIG_UNBLOCK, &set, &old_set);
    timer_settime(timer, 0, &pauses, NULL);
    ssize_t count = read(descriptor, buffer, size);
    int error = errno;
    timer_delete(timer);
    sigaction(number, &old_action, NULL);
    sigprocmask(SIG_SETMASK, &old_set, NULL);
    errno = error;
    return count;
}
