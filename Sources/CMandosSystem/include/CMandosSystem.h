// The parts of the C library that the initramfs programs need, with wrappers for those that Swift cannot import.
#pragma once
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <malloc.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <termios.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

// The program's arguments: Embedded Swift has no CommandLine.
int cmandos_argument_count(void);
char *_Nullable *_Nonnull cmandos_arguments(void);

char *_Nullable *_Nullable cmandos_environment(void);

// errno is a macro for a thread-local variable.
int cmandos_errno(void);

// readdir(3), with errno 0 at the end of the directory: nothing else tells that from an error.
struct dirent *_Nullable cmandos_next_entry(DIR *_Nonnull directory);
// open(2) is variadic in C.
int cmandos_open(const char *_Nonnull path, int flags, mode_t mode);
int cmandos_open_path(const char *_Nonnull path);  // O_PATH
int cmandos_open_entry(int directory, const char *_Nonnull name);  // O_PATH, and O_NOFOLLOW
int cmandos_give(int descriptor, uid_t user, gid_t group);         // also a descriptor that was opened with O_PATH
int cmandos_set_nonblocking(int descriptor);
_Bool cmandos_is_open(int descriptor);
int cmandos_no_core_dumps(void);
int cmandos_no_new_privileges(void);
void cmandos_set_name(const char *_Nonnull name);

// Extensions that the headers hide without _GNU_SOURCE, which would change how Swift imports the socket functions.
// A descriptor that becomes readable, or hangs up, when a child, or any process, ends: a pidfd, or else a pipe and a thread.
int cmandos_watch_child(pid_t pid);
int cmandos_watch_process(pid_t pid);
int cmandos_process_directory(pid_t pid);  // in /proc; fails with ESRCH if there is no such process
void cmandos_wipe(void *_Nonnull memory, size_t size);
// Real, effective and saved. That we are not dumpable, and the signal for our parent's end, stay as they are.
int cmandos_set_user_ids(uid_t user);
int cmandos_set_group_ids(gid_t group);
int cmandos_drop_groups(void);           // all supplementary groups
int cmandos_pipe(int descriptors[_Nonnull 2]);
void cmandos_spawn_close_from(posix_spawn_file_actions_t *_Nonnull actions, int first);
void cmandos_spawn_change_directory(posix_spawn_file_actions_t *_Nonnull actions, const char *_Nonnull path);
// A message of two parts, with a descriptor unless it is negative. Source: unix(7), SCM_RIGHTS.
struct cmandos_part {
    const void *_Nullable bytes;
    size_t size;
};
ssize_t cmandos_send_message(int socket, struct cmandos_part first, struct cmandos_part second, int descriptor);
// Never waits. *descriptor becomes -1 if none came.
ssize_t cmandos_receive_message(int socket, void *_Nonnull bytes, size_t size, int *_Nonnull descriptor);
int cmandos_child_signals(void);  // signalfd(2) for SIGCHLD, which is blocked
void cmandos_close_range(unsigned first, unsigned last);
void cmandos_close_on_exec_from(unsigned first);
int cmandos_memory_file(const char *_Nonnull name);

// SIG_IGN and SIG_DFL are casts, which Swift cannot import.
void cmandos_ignore_signal(int signal_number);
void cmandos_default_signal(int signal_number);
_Bool cmandos_is_ignored(int signal_number);

// getopt's variables: mutable globals, which Swift 6 rejects.
char *_Nullable cmandos_option_value(void);
int cmandos_option_index(void);
void cmandos_begin_options(void);  // call before each list of arguments
int cmandos_unknown_option(void);  // getopt(3)'s optopt, which is then reset

// ioctl(2) is variadic; each returns -1 and sets errno. Sources: netdevice(7), ipv6(7), rtnetlink(7).
int cmandos_interface_flags(const char *_Nonnull name);
int cmandos_set_interface_up(const char *_Nonnull name, _Bool up);
// Adds or removes a route to one host, by its address of 4 or 16 bytes, directly through an interface.
int cmandos_host_route(_Bool add, const unsigned char *_Nonnull address, int length, const char *_Nonnull interface);
int cmandos_network_events(void);  // a netlink socket; readable when interfaces, addresses or routes change
int cmandos_network_list(int type);  // a netlink socket with the answer to RTM_GETLINK, RTM_GETADDR or RTM_GETROUTE

int cmandos_set_console_level(int level);         // syslog(2)
_Bool cmandos_is_initramfs(void);                 // the root file system is in memory, and has the kernel's /init

// Sources: capabilities(7), prctl(2). In a mask, a bit stands for a capability.
unsigned long cmandos_capabilities(void);            // permitted to us
int cmandos_set_capabilities(unsigned long mask);    // drops all others, of those that we have
int cmandos_limit_capabilities(unsigned long mask);  // no program that we run gets others; needs CAP_SETPCAP
int cmandos_keep_at_change_of_user(void);            // the permitted ones survive the change from root to another user

// Limits memory (in bytes) and open files; allows no new processes, and no file to be written unless `writes_files`.
// Source: setrlimit(2).
int cmandos_limit_resources(size_t memory, unsigned files, _Bool writes_files);
// A signal, SIGPROF, ends us when we have used so much processor time from now on; never if it is 0. Source: setitimer(2).
void cmandos_end_after_processor_time(unsigned seconds);
// Allows no system calls from now on but those that UDP needs; others fail with EPERM or ENOSYS. Fails, with ENOSYS or EINVAL,
// where we or the kernel cannot do that. Needs cmandos_no_new_privileges() before. Source: seccomp(2).
int cmandos_allow_only_datagrams(void);

// Finds the SRV records of a name, in no order. Returns their number, or -1 and sets *error as getaddrinfo(3) would.
struct cmandos_service {
    char host[NI_MAXHOST];
    unsigned short port;
};
int cmandos_find_services(const char *_Nonnull name, struct cmandos_service *_Nonnull found, int most, int *_Nonnull error);

// fork(2), which Swift hides. Only for a single-threaded process.
pid_t cmandos_fork(void);
pid_t cmandos_fork_bound(int signal_number);  // the child receives the signal when we end
void cmandos_adopt_orphans(void);             // PR_SET_CHILD_SUBREAPER

// syslog(3) is variadic in C. The log is opened with the facility daemon; the text is not used as a format.
void cmandos_open_log(const char *_Nonnull name);
void cmandos_log(int priority, const char *_Nonnull text);

// Starts a program as the leader of a new process group, with another real user and group; the effective ones stay.
#include <sys/inotify.h>
enum cmandos_client_step { CMANDOS_CLIENT_FORK, CMANDOS_CLIENT_IDS, CMANDOS_CLIENT_EXEC };
// On failure, returns -1, sets errno, and stores the failed step. Standard error and the environment are inherited.
pid_t cmandos_start_client(
    const char *_Nonnull path, char *_Nullable const *_Nonnull arguments, int input, int output, uid_t user, gid_t group,
    enum cmandos_client_step *_Nonnull step);

// For the splash screens. Sources: pidfd_send_signal(2), prlimit(2), posix_spawn(3).
int cmandos_pidfd_signal(int descriptor, int signal_number);  // a pidfd, or a process's directory in /proc
void cmandos_take_limits_of(pid_t pid);
void cmandos_take_plain_limits(void);
// Raises the limit on open descriptors to `files`, as far as is permitted.
void cmandos_raise_file_limit(unsigned files);  // those of process 1, but at most 1024 open files
void cmandos_take_plain_scheduling(void);
int cmandos_spawn_in_session(void);  // the flag POSIX_SPAWN_SETSID

// Until cmandos_input_is_shown(), a fatal signal that can be handled first restores `settings` and
// discards unread input. One terminal at a time.
void cmandos_show_input_when_killed(int descriptor, const struct termios *_Nonnull settings);
void cmandos_input_is_shown(void);
// A socket that no other process can get for the same terminal until it is closed. Fails with EADDRINUSE if one has it.
int cmandos_claim_terminal(int descriptor);
// read(2) that waits 50 ms at most, then fails with EINTR.
ssize_t cmandos_read_briefly(int descriptor, void *_Nullable buffer, size_t size);

// flock(2): exclusive, without waiting. Returns -1 and sets errno on failure.
int cmandos_lock(int descriptor);
// ioctl_pipe(2) FIONREAD: the number of unread bytes. Returns -1 and sets errno on failure.
int cmandos_unread(int descriptor);
