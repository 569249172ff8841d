#pragma once
void __assert_fail(const char *words, const char *file, unsigned int line, const char *function);
#define assert(condition) ((condition) ? (void)0 : __assert_fail(#condition, __FILE__, __LINE__, ""))
