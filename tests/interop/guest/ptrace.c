/* Loaded into linux.uml: its kernel (6.1) sets a process's floating-point state from a buffer that
 * ends before what newer processors have (AMX), and the host's kernel refuses that with EFAULT:
 * "ptrace set fp regs failed, errno = 14". Here the rest is filled in with what the process has. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PEEK_FIRST = 1, PEEK_LAST = 3, GET_REGISTER_SET = 0x4204, SET_REGISTER_SET = 0x4205, X86_STATE = 0x202 };

long ptrace(int request, ...)
{
	va_list rest;
	va_start(rest, request);
	long process = va_arg(rest, long);
	long address = va_arg(rest, long);
	struct iovec *given = va_arg(rest, struct iovec *);
	va_end(rest);

	if (request == SET_REGISTER_SET && address == X86_STATE) {
		static unsigned char state[32768] __attribute__((aligned(64)));
		struct iovec whole = { state, sizeof state };
		if (syscall(SYS_ptrace, GET_REGISTER_SET, process, address, &whole) == 0 && whole.iov_len > given->iov_len) {
			memcpy(state, given->iov_base, given->iov_len);
			return syscall(SYS_ptrace, request, process, address, &whole);
		}
	}
	if (request >= PEEK_FIRST && request <= PEEK_LAST) {
		/* The system call hands the word out by pointer, the library's function returns it. */
		long word = 0;
		long result = syscall(SYS_ptrace, request, process, address, &word);
		return result < 0 ? result : word;
	}
	return syscall(SYS_ptrace, request, process, address, given);
}
