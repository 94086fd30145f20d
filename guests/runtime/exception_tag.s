# The tag of C++ exceptions: one i32, the address of the exception's header. clang refers to it in every object file
# that throws or catches, and leaves its definition to the runtime library.
	.globl	__cpp_exception
	.tagtype	__cpp_exception i32
__cpp_exception:
