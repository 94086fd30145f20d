// C++ exceptions: destructors on the way, rethrow inside a catch, nested handlers, exceptions of
// several types through deep recursion, and an exception kept by pointer and thrown again later.
//
// usage: exceptions [DEPTH]

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <stdexcept>

namespace {

unsigned trace = 0;

struct Guard {
    unsigned id;
    explicit Guard(unsigned id) : id(id) {}
    ~Guard() { trace = trace * 31 + id; }
};

struct Code {
    int value;
};

__attribute__((noinline)) void descend(unsigned depth, int kind) {
    Guard guard(depth);
    if (depth != 0) {
        descend(depth - 1, kind);
        return;
    }
    switch (kind) {
    case 0: throw Code{42};
    case 1: throw std::runtime_error("deep");
    case 2: throw std::bad_alloc();
    default: throw kind;
    }
}

__attribute__((noinline)) void middle(unsigned depth, int kind) {
    Guard guard(1000);
    try {
        descend(depth, kind);
    } catch (const Code &code) {
        Guard inside(2000);
        if (code.value == 42) throw;
    } catch (const std::runtime_error &) {
        throw Code{7};
    }
}

const char *outcome(unsigned depth, int kind) {
    try {
        middle(depth, kind);
    } catch (const Code &code) {
        return code.value == 42 ? "code 42" : "code 7";
    } catch (const std::exception &) {
        return "exception";
    } catch (...) {
        return "something";
    }
    return "nothing";
}

// An exception in the middle of handling another: the first must survive the second.
int nested() {
    try {
        throw Code{1};
    } catch (const Code &first) {
        try {
            throw Code{2};
        } catch (const Code &second) {
            return first.value * 10 + second.value;
        }
    }
}

int kept() {
    std::exception_ptr pointer;
    try {
        descend(3, 1);
    } catch (...) {
        pointer = std::current_exception();
    }
    try {
        std::rethrow_exception(pointer);
    } catch (const std::runtime_error &) {
        return 1;
    }
}

}  // namespace

int main(int argc, char **argv) {
    unsigned depth = argc > 1 ? static_cast<unsigned>(std::atoi(argv[1])) : 200;
    for (int kind = 0; kind < 4; kind++) {
        trace = 0;
        const char *text = outcome(depth, kind);
        std::printf("kind %d: %s, trace %08x\n", kind, text, trace);
    }
    std::printf("nested %d kept %d\n", nested(), kept());
    return 0;
}
