// The Lua interpreter as a command: lua SCRIPT [ARGS...], lua -e CODE [ARGS...], or
// lua - [ARGS...] for a script on standard input.
//
// A driver of our own, because the registry's package carries Lua's library only. Lua reports errors by
// setjmp/longjmp, which here are WebAssembly exceptions.

#include <stdio.h>
#include <string.h>

#include "lauxlib.h"
#include "lua.h"
#include "lualib.h"

static int with_traceback(lua_State *lua) {
    const char *message = luaL_tolstring(lua, 1, NULL);
    luaL_traceback(lua, lua, message, 1);
    return 1;
}

// The table `arg`, as in the stand-alone interpreter: the script at 0, its arguments from 1.
static void set_arguments(lua_State *lua, int argc, char **argv, int script) {
    lua_createtable(lua, argc, 1);
    for (int i = script; i < argc; i++) {
        lua_pushstring(lua, argv[i]);
        lua_rawseti(lua, -2, i - script);
    }
    lua_setglobal(lua, "arg");
}

static int load(lua_State *lua, const char *script, int is_code) {
    if (is_code) return luaL_loadstring(lua, script);
    return luaL_loadfile(lua, strcmp(script, "-") == 0 ? NULL : script);
}

int main(int argc, char **argv) {
    int is_code = argc > 2 && strcmp(argv[1], "-e") == 0;
    int script = is_code ? 2 : 1;
    if (argc <= script) {
        fprintf(stderr, "usage: lua SCRIPT [ARGS...] | -e CODE [ARGS...] | - [ARGS...]\n");
        return 2;
    }
    lua_State *lua = luaL_newstate();
    if (!lua) {
        fprintf(stderr, "lua: out of memory\n");
        return 1;
    }
    luaL_openlibs(lua);
    set_arguments(lua, argc, argv, script);
    lua_pushcfunction(lua, with_traceback);
    int status = load(lua, argv[script], is_code);
    if (status == LUA_OK) status = lua_pcall(lua, 0, 0, -2);
    if (status != LUA_OK) fprintf(stderr, "lua: %s\n", lua_tostring(lua, -1));
    lua_close(lua);
    return status == LUA_OK ? 0 : 1;
}
