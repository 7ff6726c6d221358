"""Makes another process, which waits in a system call, do system calls; prints a result for each, as the kernel gives it.

usage: system_call.py PROCESS NUMBER[,ARGUMENT...] ...

For x86-64. Source: ptrace(2), syscall(2).
"""
import ctypes
import os
import sys

ATTACH, DETACH, SINGLE_STEP, GET_REGISTERS, SET_REGISTERS = 16, 17, 9, 12, 13
NAMES = "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs gs"


class Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in NAMES.split()]


library = ctypes.CDLL(None, use_errno=True)
library.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
library.ptrace.restype = ctypes.c_long
process = int(sys.argv[1])


def ptrace(request, data=None):
    if library.ptrace(request, process, None, data) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def registers():
    found = Registers()
    ptrace(GET_REGISTERS, ctypes.byref(found))
    return found


ptrace(ATTACH)
os.waitpid(process, 0)
for call in sys.argv[2:]:
    former, changed = registers(), registers()
    changed.rip -= 2  # the instruction "syscall", in which the process waits
    changed.orig_rax = 2**64 - 1  # not to be started again
    changed.rax, *arguments = (int(number, 0) % 2**64 for number in call.split(","))
    for name, argument in zip("rdi rsi rdx r10 r8 r9".split(), arguments):
        setattr(changed, name, argument)
    ptrace(SET_REGISTERS, ctypes.byref(changed))
    ptrace(SINGLE_STEP)
    os.waitpid(process, 0)
    print(ctypes.c_longlong(registers().rax).value)
    ptrace(SET_REGISTERS, ctypes.byref(former))
ptrace(DETACH)
