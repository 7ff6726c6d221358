// Swift's Glibc leaves it out.
#pragma once
#include <sys/epoll.h>
