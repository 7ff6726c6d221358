#define _GNU_SOURCE
#include "CMandosSystem.h"

#include <net/route.h>
#include <sys/ioctl.h>

// The kernel's structure in <linux/ipv6_route.h>, which cannot be included together with <netinet/in.h>.
struct ipv6_route {
    struct in6_addr destination, source, gateway;
    uint32_t type;
    uint16_t destination_length, source_length;
    uint32_t metric;
    unsigned long information;
    uint32_t flags;
    int interface;
};

// Closes a descriptor without changing errno, and returns `result`.
static int finish(int descriptor, int result) {
    int error = errno;
    close(descriptor);
    errno = error;
    return result;
}

static int named_request(struct ifreq *request, const char *name) {
    *request = (struct ifreq){0};
    if (strlen(name) >= sizeof request->ifr_name) {
        errno = ENODEV;
        return -1;
    }
    strcpy(request->ifr_name, name);
    // Of a family that every kernel has: IPv6 may be switched off. The requests are the same for all families.
    return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

int cmandos_interface_flags(const char *name) {
    struct ifreq request;
    int descriptor = named_request(&request, name);
    if (descriptor < 0) return -1;
    int result = ioctl(descriptor, SIOCGIFFLAGS, &request);
    return finish(descriptor, result < 0 ? -1 : (unsigned short)request.ifr_flags);
}

int cmandos_set_interface_up(const char *name, _Bool up) {
    struct ifreq request;
    int descriptor = named_request(&request, name);
    if (descriptor < 0) return -1;
    int result = ioctl(descriptor, SIOCGIFFLAGS, &request);
    if (result >= 0) {
        request.ifr_flags = up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP;
        result = ioctl(descriptor, SIOCSIFFLAGS, &request);
    }
    return finish(descriptor, result);
}

int cmandos_host_route(_Bool add, const unsigned char *address, int length, const char *interface) {
    int family = length == 4 ? AF_INET : AF_INET6;
    int descriptor = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -1;
    unsigned long action = add ? SIOCADDRT : SIOCDELRT;
    if (family == AF_INET6) {
        struct ipv6_route route = {
            .destination_length = 128, .metric = 1024, .flags = RTF_UP | RTF_HOST, .interface = (int)if_nametoindex(interface)};
        memcpy(&route.destination, address, 16);
        return finish(descriptor, ioctl(descriptor, action, &route));
    }
    struct sockaddr_in destination = {.sin_family = AF_INET}, mask = {.sin_family = AF_INET, .sin_addr.s_addr = 0xFFFFFFFF};
    memcpy(&destination.sin_addr, address, 4);
    struct rtentry route = {.rt_flags = RTF_UP | RTF_HOST, .rt_dev = (char *)interface};
    memcpy(&route.rt_dst, &destination, sizeof destination);
    memcpy(&route.rt_genmask, &mask, sizeof mask);
    return finish(descriptor, ioctl(descriptor, action, &route));
}

int cmandos_network_events(void) {
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (descriptor < 0) return -1;
    struct sockaddr_nl address = {
        .nl_family = AF_NETLINK,
        .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE};
    int result = bind(descriptor, (struct sockaddr *)&address, sizeof address);
    return result < 0 ? finish(descriptor, result) : descriptor;
}

int cmandos_network_list(int type) {
    int descriptor = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (descriptor < 0) return -1;
    struct {
        struct nlmsghdr header;
        struct rtgenmsg family;
    } request = {
        .header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct rtgenmsg)), .nlmsg_type = (__u16)type, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .family = {AF_UNSPEC}};
    ssize_t sent = send(descriptor, &request, request.header.nlmsg_len, 0);
    return sent < 0 ? finish(descriptor, -1) : descriptor;
}
