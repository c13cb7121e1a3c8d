/* Switching stacks: what fibers are made of. On x86-64 in a few instructions, of which
 * AddressSanitizer is told; elsewhere, and under ThreadSanitizer, by ucontext. */
#ifndef AFFECT_CUDA_HOST_SWITCH_H
#define AFFECT_CUDA_HOST_SWITCH_H

#include <cstddef>
#include <cstdint>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#else
/* As that header declares them: newer libraries include it themselves under ThreadSanitizer. */
extern "C" inline void __sanitizer_start_switch_fiber(void **, const void *, size_t) {}
extern "C" inline void __sanitizer_finish_switch_fiber(void *, const void **, size_t *) {}
#endif

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)

namespace affect_host {

struct stack_context {
    void *top;
    const void *memory; /* the whole stack, for AddressSanitizer; the first one's is learnt */
    size_t size;
    void *fake;
};

extern "C" void affect_host_switch(void **from, void *to);

/* What a call must keep is pushed, the stacks are exchanged, and it is popped from the other. */
asm(R"(
.text
.hidden affect_host_switch
.globl affect_host_switch
.type affect_host_switch, @function
affect_host_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
.size affect_host_switch, . - affect_host_switch
)");

inline void switch_stack(stack_context *from, stack_context *to) {
    __sanitizer_start_switch_fiber(&from->fake, to->memory, to->size);
    affect_host_switch(&from->top, to->top);
    __sanitizer_finish_switch_fiber(from->fake, nullptr, nullptr);
}

/* The first thing that `entry` does; `from`: whoever switched to it. */
inline void enter_stack(stack_context *from) {
    __sanitizer_finish_switch_fiber(nullptr, &from->memory, &from->size);
}

/* The last: it is never switched to again. */
inline void leave_stack(stack_context *mine, stack_context *to) {
    __sanitizer_start_switch_fiber(nullptr, to->memory, to->size);
    affect_host_switch(&mine->top, to->top);
}

/* The first switch returns into `entry`, as if it had been called: 8 off a multiple of 16. */
inline void prepare_stack(stack_context *context, char *memory, size_t size, void (*entry)()) {
    uintptr_t end = (reinterpret_cast<uintptr_t>(memory) + size) / 16 * 16;
    void **top = reinterpret_cast<void **>(end) - 8;
    for (int i = 0; i < 8; i++) top[i] = nullptr;
    top[6] = reinterpret_cast<void *>(entry);
    *context = {top, memory, size, nullptr};
}

} // namespace affect_host

#else

#include <ucontext.h>

namespace affect_host {

typedef ucontext_t stack_context;

inline void switch_stack(stack_context *from, stack_context *to) {
    swapcontext(from, to);
}

inline void enter_stack(stack_context *) {}

inline void leave_stack(stack_context *mine, stack_context *to) {
    swapcontext(mine, to);
}

inline void prepare_stack(stack_context *context, char *memory, size_t size, void (*entry)()) {
    getcontext(context);
    context->uc_stack.ss_sp = memory;
    context->uc_stack.ss_size = size;
    context->uc_link = nullptr;
    makecontext(context, entry, 0);
}

} // namespace affect_host

#endif

#endif
